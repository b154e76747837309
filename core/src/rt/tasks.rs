//! The tasks of one core: who may run, in the order of their wake-ups.
//!
//! A waker is the number of a task and nothing else: making, cloning and dropping one costs
//! nothing. It may outlive its task, and then wakes whoever has the number by then, and on
//! another thread a task of that thread; so every future here bears being polled for nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// Whether a core has work left when it looks after its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It has: what is complete is taken, and no more waited for.
    No,
    /// It sleeps until something completes.
    Yes,
}

/// Starts a task.
pub(super) fn spawn(future: impl Future<Output = ()> + 'static) {
    let future: Task = Box::pin(future);
    TASKS.with_borrow_mut(|tasks| tasks.insert(future));
}

/// Runs `future`, and the tasks beside it, until it ends; `park` submits what was asked of the
/// kernel, and wakes whom its answers concern.
pub(super) fn run<F: Future>(future: F, mut park: impl FnMut(Wait)) -> F::Output {
    let mut main = pin!(future);
    wake(MAIN);
    loop {
        // Whoever is woken during the turn waits for the next one.
        let turn = TASKS.with_borrow(|tasks| tasks.ready.len());
        for _ in 0..turn {
            let next = TASKS.with_borrow_mut(Tasks::take_next);
            match next {
                Next::Main => {
                    if let Poll::Ready(output) =
                        main.as_mut().poll(&mut Context::from_waker(&waker(MAIN)))
                    {
                        return output;
                    }
                }
                Next::Task(number, mut task) => {
                    let polled = task.as_mut().poll(&mut Context::from_waker(&waker(number)));
                    match polled {
                        Poll::Pending => {
                            TASKS.with_borrow_mut(|tasks| tasks.put_back(number, task))
                        }
                        Poll::Ready(()) => {
                            // Its drop may start or wake others.
                            drop(task);
                            TASKS.with_borrow_mut(|tasks| tasks.free.push(number));
                        }
                    }
                }
                Next::Nobody => {}
            }
        }
        let wait = match TASKS.with_borrow(|tasks| tasks.ready.is_empty()) {
            true => Wait::Yes,
            false => Wait::No,
        };
        park(wait);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
    main_is_ready: bool,
}

#[derive(Default)]
struct Slot {
    /// None while the task runs, and when there is none.
    task: Option<Task>,
    is_ready: bool,
}

enum Next {
    Main,
    Task(u32, Task),
    Nobody,
}

impl Tasks {
    fn insert(&mut self, task: Task) {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            }
        };
        debug_assert!(number < MAIN);
        self.slots[number as usize].task = Some(task);
        // A late wake-up of the former task may have put the number in line already.
        self.wake(number);
    }

    fn take_next(&mut self) -> Next {
        let Some(number) = self.ready.pop_front() else {
            return Next::Nobody;
        };
        if number == MAIN {
            self.main_is_ready = false;
            return Next::Main;
        }
        let slot = &mut self.slots[number as usize];
        slot.is_ready = false;
        match slot.task.take() {
            Some(task) => Next::Task(number, task),
            None => Next::Nobody,
        }
    }

    fn put_back(&mut self, number: u32, task: Task) {
        self.slots[number as usize].task = Some(task);
    }

    fn wake(&mut self, number: u32) {
        let is_ready = match self.slots.get_mut(number as usize) {
            Some(slot) => &mut slot.is_ready,
            None if number == MAIN => &mut self.main_is_ready,
            None => return,
        };
        if !std::mem::replace(is_ready, true) {
            self.ready.push_back(number);
        }
    }
}

/// The number of the future that [`run`] was called for.
const MAIN: u32 = u32::MAX;

fn wake(number: u32) {
    // At thread exit there is nobody left to be woken.
    let _ = TASKS.try_with(|tasks| tasks.borrow_mut().wake(number));
}

fn waker(number: u32) -> Waker {
    let data = std::ptr::without_provenance(number as usize);
    // SAFETY: the table's functions take a number, not a pointer: they may be called in any
    // order, from any thread, and there is nothing to free.
    unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| wake(data.addr() as u32),
    |data| wake(data.addr() as u32),
    |_| {},
);

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    /// Runs to the end of `future`; nothing ever comes from outside.
    fn run_alone<F: Future>(future: F) -> F::Output {
        run(future, |_| {})
    }

    async fn yield_now() {
        let mut turned = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut turned, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn a_task_that_wakes_itself_goes_to_the_end_of_the_line() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let walk = |name: char| {
            let order = Rc::clone(&order);
            async move {
                for _ in 0..3 {
                    order.borrow_mut().push(name);
                    yield_now().await;
                }
            }
        };
        let (left, right) = (walk('a'), walk('b'));
        run_alone(async {
            spawn(left);
            spawn(right);
            for _ in 0..5 {
                yield_now().await;
            }
        });
        assert_eq!(order.borrow().iter().collect::<String>(), "ababab");
    }

    #[test]
    fn a_late_wake_up_harms_nobody() {
        let late: Rc<RefCell<Option<Waker>>> = Rc::default();
        let keep = Rc::clone(&late);
        let polls = Rc::new(Cell::new(0));
        let count = Rc::clone(&polls);
        run_alone(async move {
            spawn(poll_fn(move |cx| {
                *keep.borrow_mut() = Some(cx.waker().clone());
                Poll::Ready(())
            }));
            yield_now().await;
            let waker = late.borrow_mut().take();
            let waker = waker.unwrap_or_else(|| unreachable!("the task has run"));
            waker.wake_by_ref();
            spawn(poll_fn(move |_| {
                count.set(count.get() + 1);
                match count.get() {
                    2 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }));
            yield_now().await;
            waker.wake();
            yield_now().await;
        });
        assert_eq!(polls.get(), 2);
    }

    #[test]
    fn it_waits_only_when_nobody_can_run() {
        let mut waits = Vec::new();
        run(
            async {
                yield_now().await;
                let mut woken = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut woken, true) {
                        return Poll::Ready(());
                    }
                    PARKED.set(Some(cx.waker().clone()));
                    Poll::Pending
                })
                .await;
            },
            |wait| {
                waits.push(wait);
                if wait == Wait::Yes
                    && let Some(waker) = PARKED.take()
                {
                    waker.wake();
                }
            },
        );
        assert_eq!(waits, [Wait::No, Wait::Yes]);
    }

    thread_local! {
        static PARKED: Cell<Option<Waker>> = const { Cell::new(None) };
    }
}
