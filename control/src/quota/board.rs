//! How the store of counts stands, and when somebody must hear of it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::StoreError;
use crate::exposition::{Exposition, Kind};

#[derive(Debug, Default)]
pub(super) struct Board {
    written: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Of the last write.
    took_us: AtomicU64,
    failing_since: Mutex<Option<Instant>>,
}

impl Board {
    pub(super) fn rows(&self, rows: usize, bytes: u64) {
        self.rows.store(rows as u64, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    /// Takes note of a write; logs a change of state, and only that.
    pub(super) fn wrote(&self, path: &Path, result: &Result<(), StoreError>, took: Duration) {
        self.took_us.store(took.as_micros() as u64, Relaxed);
        let mut since = self
            .failing_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                self.written.fetch_add(1, Relaxed);
                if let Some(since) = since.take() {
                    info!(
                        store = %path.display(),
                        failing_for_ms = since.elapsed().as_millis() as u64,
                        "quotas are written again"
                    );
                }
            }
            Err(cause) => {
                self.failed.fetch_add(1, Relaxed);
                if since.is_none() {
                    *since = Some(Instant::now());
                    error!(
                        %cause,
                        help = cause.advice(),
                        "quotas cannot be written: requests are counted as before, but a restart forgets what was counted from now on"
                    );
                }
            }
        }
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        out.family(
            "ringgate_quota_store_writes_total",
            Kind::Counter,
            "Writes of the quota store by result; one a second.",
        );
        out.sample(&[("result", "written")], self.written.load(Relaxed));
        out.sample(&[("result", "failed")], self.failed.load(Relaxed));
        out.family(
            "ringgate_quota_store_failing",
            Kind::Gauge,
            "1 while the quota store cannot be written: a restart then forgets counts.",
        );
        let since = self.failing_since.lock();
        let failing = since.unwrap_or_else(PoisonError::into_inner).is_some();
        out.sample(&[], u64::from(failing));
        out.family(
            "ringgate_quota_store_write_seconds",
            Kind::Gauge,
            "What the last write of the quota store took.",
        );
        out.sample(&[], self.took_us.load(Relaxed) as f64 / 1e6);
        out.family(
            "ringgate_quota_store_keys",
            Kind::Gauge,
            "Keys in the quota store.",
        );
        out.sample(&[], self.rows.load(Relaxed));
        out.family(
            "ringgate_quota_store_bytes",
            Kind::Gauge,
            "Size of the quota store's file.",
        );
        out.sample(&[], self.bytes.load(Relaxed));
    }
}
