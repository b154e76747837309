//! Origins and clients that fail in every phase: the gateway answers rightly, closes what
//! is spoilt, leaks nothing, and never gives one client another's answer.

mod clients;
mod crowds;
mod origins;
mod responses;
mod shuffles;
