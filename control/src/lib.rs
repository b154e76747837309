//! Ringgate's control plane: admin API, name resolution, configuration watch and signals, on
//! one thread of its own. It sees the gateway only through [`Node`], touches no data-plane
//! I/O, and may die without stopping traffic.

mod exposition;
mod node;
mod report;

pub use exposition::{Exposition, Kind, Number};
pub use node::{Cause, Node, NotReady, Readiness, Shutdown, Target};
pub use report::{ObjectChanges, Refusal, ReloadRefused, ReloadReport};
