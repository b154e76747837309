//! Ringgate test support.
