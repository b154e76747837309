//! Ringgate's control plane: admin API, name resolution, health checks, certificates, configuration watch and
//! signals, on one thread of its own. It sees the gateway only through [`Node`], touches no data-plane
//! I/O, and may die without stopping traffic.

pub mod acme;
mod admin;
mod backoff;
mod client;
pub mod cluster;
pub mod consumers;
mod counters;
mod dns;
mod exposition;
pub mod health;
pub mod jwks;
mod node;
pub mod oauth;
mod plane;
pub mod quota;
mod reload;
mod report;
mod signals;
mod supervise;
mod watch;

pub use client::{AdminAnswer, AdminClient, AdminError, post_reload};
pub use dns::{DnsOptions, Resolution, resolve_once};
pub use exposition::{Exposition, Kind, Number};
pub use node::{Cause, Drain, Node, NotReady, Readiness, Shutdown, Target};
pub use plane::{AdminOptions, ControlPlane, Handle, Options, SignalHandling, Watch};
pub use report::{ObjectChanges, Refusal, ReloadRefused, ReloadReport};
