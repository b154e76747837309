//! One thread of the generator: its runtime, when its connections are opened, and when the run
//! begins and ends on it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use ringgate_core::rt::clock::Stamp;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{self, WakeSource};

use super::plan::{Plan, Protocol, Reuse};
use super::tally::{Arrivals, Live, Tally, Watched};
use super::worker::{Stage, Worker};
use super::{http1, http2};

/// What a thread is started with.
pub struct Start {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// Its number.
    pub thread: u32,
    /// Wakes it when the start is set.
    pub source: WakeSource,
    /// When the run begins.
    pub begin: Arc<OnceLock<Stamp>>,
    /// Where it tells what comes of it.
    pub reports: Sender<Report>,
    /// What it shows while it runs.
    pub live: Arc<Live>,
    /// Whether somebody looks at that.
    pub watched: Watched,
}

/// What a thread tells.
pub enum Report {
    /// Its connections are open, or as many of them as could be.
    Ready,
    /// None of them could be opened.
    Unreachable(String),
    /// It has ended, with requests that were due and never sent.
    Ended(Box<Tally>, u64),
    /// It cannot run.
    Failed(String),
}

/// Runs one thread; never returns, as the runtime must not be dropped while the kernel works on
/// its memory. The thread ends with the process.
pub fn run(start: Start) {
    let plan = Arc::clone(&start.plan);
    let reports = start.reports.clone();
    if let Some(cores) = &plan.cores {
        let cores = cores.numbers();
        let core = cores[start.thread as usize % cores.len()];
        if let Err(error) = rt::pin_to(core) {
            let what = format!("cannot pin a thread to core {core}: {error}");
            let _ = reports.send(Report::Failed(what));
            return;
        }
    }
    let ran: io::Result<()> = rt::block_on(plan.driver, async {
        if let Err(error) = live(start).await {
            let what = format!("a load thread cannot run: {error}");
            let _ = reports.send(Report::Failed(what));
        }
        loop {
            rt::pause(Ticks(600)).await;
        }
    });
    if let Err(error) = ran {
        let what = format!("{} cannot be set up: {error}", plan.driver.name());
        let _ = reports.send(Report::Failed(what));
    }
}

async fn live(start: Start) -> io::Result<()> {
    let worker = Worker::new(start.plan, start.thread, start.watched)?;
    let worker = Rc::new(worker);
    rt::spawn(tick(Rc::clone(&worker), start.live, start.reports.clone()));
    let pacing = Rc::clone(&worker);
    rt::spawn(async move { pacing.pace().await });
    open_all(&worker, start.thread).await;
    let report = match worker.unreachable() {
        Some(why) => Report::Unreachable(why),
        None => Report::Ready,
    };
    // Whoever started this waits for it, or has gone.
    let _ = start.reports.send(report);
    start.source.run(|| false).await?;
    if let Some(&begin) = start.begin.get() {
        worker.begin(begin);
    }
    worker.all_ended().await;
    let window = worker.plan.window;
    let nothing = Tally::new(window, Arrivals::Answers, Watched::No);
    let tally = Box::new(worker.tally.replace(nothing));
    let _ = start.reports.send(Report::Ended(tally, worker.unsent()));
    Ok(())
}

async fn tick(worker: Rc<Worker>, live: Arc<Live>, reports: Sender<Report>) {
    let mut ticks = 0_u32;
    let on_tick = || {
        ticks += 1;
        if ticks.is_multiple_of(PUBLISH_EVERY) && worker.stage() == Stage::Running {
            worker.tally.borrow_mut().publish(&live);
        }
        worker.tick();
        true
    };
    if let Err(error) = rt::every_tick(on_tick).await {
        let what = format!("without a timer there are no deadlines: {error}");
        let _ = reports.send(Report::Failed(what));
    }
}

/// Opens the connections, some at a time so that the server's queue of them does not overflow.
async fn open_all(worker: &Rc<Worker>, thread: u32) {
    let busy = worker.plan.share(worker.plan.connections, thread);
    let idle = worker.plan.share(worker.plan.idle, thread);
    worker.expect(busy + idle);
    let left = Rc::new(Cell::new(busy + idle));
    for _ in 0..OPENERS.min(busy + idle) {
        let (worker, left) = (Rc::clone(worker), Rc::clone(&left));
        rt::spawn(async move {
            while let Some(number) = left.get().checked_sub(1) {
                left.set(number);
                match number < idle {
                    true => open_idle(&worker).await,
                    false => open_busy(&worker).await,
                }
            }
        });
    }
    worker.all_settled().await;
}

async fn open_busy(worker: &Rc<Worker>) {
    let first = match worker.plan.reuse {
        Reuse::Kept => worker.connect().await,
        Reuse::EachNew => None,
    };
    worker.settled();
    worker.task_begins();
    let task = Rc::clone(worker);
    match worker.plan.protocol {
        Protocol::Http1 => rt::spawn(async move {
            http1::carry(&task, first).await;
            task.task_ended();
        }),
        Protocol::Http2 => rt::spawn(async move {
            http2::carry(&task, first).await;
            task.task_ended();
        }),
    }
}

async fn open_idle(worker: &Rc<Worker>) {
    let Some(wire) = worker.connect().await else {
        worker.tally.borrow_mut().idle_lost += 1;
        return worker.settled();
    };
    worker.task_begins();
    let task = Rc::clone(worker);
    rt::spawn(async move {
        match task.plan.protocol {
            Protocol::Http1 => http1::idle(&task, wire).await,
            Protocol::Http2 => http2::idle(&task, wire).await,
        }
        task.task_ended();
    });
}

/// Connections of one thread that are opened at a time.
const OPENERS: u32 = 64;

/// Ticks between two updates of the progress bar.
const PUBLISH_EVERY: u32 = 5;
