//! HTTP/2 connections.

use std::rc::Rc;

use super::worker::Worker;
use crate::wire::Wire;

/// Carries requests as streams.
pub async fn carry(_worker: &Rc<Worker>, _first: Option<Wire>) {}

/// Keeps a connection open.
pub async fn idle(_worker: &Rc<Worker>, _wire: Wire) {}
