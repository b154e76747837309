//! Reloads, one at a time, whoever asks: each runs on a blocking thread to its end even when
//! the asker goes away, and leaves one line in the log.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

use crate::counters::Counters;
use crate::node::{Cause, Node};
use crate::report::{Refusal, ReloadRefused, ReloadReport};
use crate::supervise::panic_text;

pub(crate) struct Reloader {
    node: Arc<dyn Node>,
    counters: Arc<Counters>,
    turn: Mutex<()>,
    applied: watch::Sender<u64>,
}

impl Reloader {
    /// `applied` is raised after every reload that was applied.
    pub(crate) fn new(
        node: Arc<dyn Node>,
        counters: Arc<Counters>,
        applied: watch::Sender<u64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            counters,
            turn: Mutex::new(()),
            applied,
        })
    }

    pub(crate) async fn reload(
        self: &Arc<Self>,
        cause: Cause,
    ) -> Result<ReloadReport, ReloadRefused> {
        let this = Arc::clone(self);
        // Its own task: an admin client that hangs up must not release the turn early.
        let run = tokio::spawn(async move { this.take_turn(cause).await });
        run.await
            .unwrap_or_else(|_| Err(internal("the control plane is stopping")))
    }

    async fn take_turn(&self, cause: Cause) -> Result<ReloadReport, ReloadRefused> {
        let _turn = self.turn.lock().await;
        let node = Arc::clone(&self.node);
        let result = match tokio::task::spawn_blocking(move || node.reload(cause)).await {
            Ok(result) => result,
            Err(failure) => Err(internal(&match failure.try_into_panic() {
                Ok(panic) => format!(
                    "the reload panicked: {}; the old configuration stays in force; please report this",
                    panic_text(panic.as_ref())
                ),
                Err(_) => "the control plane is stopping".to_owned(),
            })),
        };
        self.log(cause, &result);
        if result.is_ok() {
            self.applied.send_modify(|count| *count += 1);
        }
        result
    }

    fn log(&self, cause: Cause, result: &Result<ReloadReport, ReloadRefused>) {
        match result {
            Ok(report) => {
                self.counters.reloads_applied.fetch_add(1, Relaxed);
                let changes = report.summary();
                if report.warnings.is_empty() {
                    info!(
                        %cause,
                        generation = report.generation,
                        changes,
                        connections_closed = report.connections_closed,
                        longest_core_stall_us = report.longest_core_stall_us,
                        memory_delta_bytes = report.memory_delta_bytes,
                        duration_us = report.duration_us,
                        "configuration reloaded"
                    );
                } else {
                    warn!(
                        %cause,
                        generation = report.generation,
                        changes,
                        connections_closed = report.connections_closed,
                        longest_core_stall_us = report.longest_core_stall_us,
                        memory_delta_bytes = report.memory_delta_bytes,
                        duration_us = report.duration_us,
                        warnings = %report.warnings.join("; "),
                        "configuration reloaded with warnings"
                    );
                }
            }
            Err(refused) => {
                self.counters.reloads_refused.fetch_add(1, Relaxed);
                error!(
                    %cause,
                    refusal = %refused.refusal,
                    diagnostics = %refused.in_one_line(),
                    "reload refused: the old configuration stays in force; correct it and reload again"
                );
            }
        }
    }
}

fn internal(text: &str) -> ReloadRefused {
    ReloadRefused::new(Refusal::Internal, text)
}
