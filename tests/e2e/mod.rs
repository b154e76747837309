//! One file a subject, one function a case: origin script, configuration, client bytes
//! and what must come of them, side by side.

mod cli;
mod closing;
mod cuts;
mod errors;
mod examples;
mod explained;
mod fields;
mod filters;
mod framing;
mod interim;
mod keep_alive;
mod limits;
mod pace;
mod patience;
mod protocol;
mod real_peers;
mod relay;
mod reload;
mod retry;
mod routing;
mod runtime;
mod seeing;
mod shutdown;
mod sizes;
mod targets;
mod timeouts;
mod tokens;
mod traces;
mod upgrade;
mod uploads;
mod upstreams;
