use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use proptest::prelude::*;

use super::*;

fn spec(max: u32, queue_max: u32) -> policy::Concurrency {
    policy::Concurrency {
        max,
        queue_max,
        queue_timeout: std::time::Duration::from_secs(1),
        adaptive: None,
    }
}

fn nobody(core: CoreIndex, id: WaiterId) {
    panic!("{id:?} of {core:?} was woken");
}

fn waiter(entry: Entry) -> Arc<Waiter> {
    match entry {
        Entry::Queued(waiter) => waiter,
        other => panic!("it does not wait: {other:?}"),
    }
}

fn enter(gate: &Gate, spec: &policy::Concurrency, core: u32) -> Entry {
    gate.try_enter(spec, CoreIndex(core), nobody)
}

#[test]
fn places_and_queue_are_bounded() {
    let (gate, spec) = (Gate::new(2), spec(2, 1));
    assert!(matches!(enter(&gate, &spec, 0), Entry::Entered));
    assert!(matches!(enter(&gate, &spec, 1), Entry::Entered));
    let waiting = waiter(enter(&gate, &spec, 0));
    assert!(matches!(enter(&gate, &spec, 1), Entry::Full));
    assert_eq!((gate.inside(), gate.waiting()), (2, 1));
    assert_eq!((gate.queued(), gate.refused()), (1, 1));
    assert!(!waiting.has_place());
    gate.abandon(&spec, &waiting, nobody);
    gate.leave(&spec, nobody);
    gate.leave(&spec, nobody);
    assert_eq!((gate.inside(), gate.waiting()), (0, 0));
}

#[test]
fn a_place_goes_to_who_has_waited_longest() {
    let (gate, spec) = (Gate::new(3), spec(1, 10));
    assert!(matches!(enter(&gate, &spec, 0), Entry::Entered));
    let waiting: Vec<_> = (0..3)
        .map(|core| waiter(enter(&gate, &spec, core)))
        .collect();
    gate.abandon(&spec, &waiting[1], nobody);
    for next in [0, 2] {
        let mut woken = Vec::new();
        gate.leave(&spec, |core, id| woken.push((core, id)));
        assert_eq!(woken, [(CoreIndex(next), waiting[next as usize].id())]);
        assert!(waiting[next as usize].has_place());
        // Nobody enters past a waiter, and the place is taken again.
        assert_eq!(gate.inside(), 1);
    }
    gate.leave(&spec, nobody);
    assert_eq!((gate.inside(), gate.waiting()), (0, 0));
}

#[test]
fn a_place_that_came_too_late_is_handed_on() {
    let (gate, spec) = (Gate::new(2), spec(1, 10));
    assert!(matches!(enter(&gate, &spec, 0), Entry::Entered));
    let first = waiter(enter(&gate, &spec, 0));
    let second = waiter(enter(&gate, &spec, 1));
    gate.leave(&spec, |_, _| {});
    assert!(first.has_place());
    let mut woken = Vec::new();
    gate.abandon(&spec, &first, |core, id| woken.push((core, id)));
    assert_eq!(woken, [(CoreIndex(1), second.id())]);
    assert!(second.has_place());
    gate.abandon(&spec, &second, nobody);
    assert_eq!((gate.inside(), gate.waiting()), (0, 0));
}

#[test]
fn a_higher_limit_lets_waiters_in_and_a_lower_one_nobody() {
    let (gate, tight) = (Gate::new(1), spec(1, 10));
    assert!(matches!(enter(&gate, &tight, 0), Entry::Entered));
    let first = waiter(enter(&gate, &tight, 0));
    let mut woken = Vec::new();
    let entry = gate.try_enter(&spec(3, 10), CoreIndex(0), |_, id| woken.push(id));
    assert_eq!(woken, [first.id()]);
    assert!(matches!(entry, Entry::Entered));
    assert_eq!(gate.inside(), 3);
    let late = waiter(enter(&gate, &tight, 0));
    gate.leave(&tight, nobody);
    gate.leave(&tight, nobody);
    assert!(!late.has_place());
    // Without a queue those who wait go first all the same.
    let mut woken = 0;
    let entry = gate.try_enter(&spec(2, 0), CoreIndex(0), |_, _| woken += 1);
    assert!(matches!(entry, Entry::Full));
    assert_eq!((woken, late.has_place(), gate.inside()), (1, true, 2));
}

#[test]
fn those_who_gave_up_do_not_pile_up() {
    let (gate, spec) = (Gate::new(1), spec(1, 4));
    assert!(matches!(enter(&gate, &spec, 0), Entry::Entered));
    let mut waited = 0;
    for _ in 0..10_000 {
        if let Entry::Queued(waiter) = enter(&gate, &spec, 0) {
            waited += 1;
            gate.abandon(&spec, &waiter, nobody);
        }
    }
    assert_eq!(waited, 2 * spec.queue_max + LEFT_OVER_MAX);
    assert_eq!(gate.queue.len(), waited as usize);
    gate.leave(&spec, nobody);
    assert_eq!((gate.queue.len(), gate.inside()), (0, 0));
    assert!(matches!(enter(&gate, &spec, 0), Entry::Entered));
    let _ = waiter(enter(&gate, &spec, 0));
}

proptest! {
    /// Against a plain queue: the same requests are inside, in the same order.
    #[test]
    fn it_is_a_queue(
        max in 1u32..5,
        queue_max in 0u32..6,
        steps in prop::collection::vec((0u8..5, 0usize..64), 1..300),
    ) {
        let (gate, spec) = (Gate::new(4), spec(max, queue_max));
        let (mut inside, mut queue) = (0u32, VecDeque::<Arc<Waiter>>::new());
        for (what, which) in steps {
            let mut woken = Vec::new();
            let mut wake = |_, id| woken.push(id);
            match what {
                0..=2 => match gate.try_enter(&spec, CoreIndex(which as u32 % 4), &mut wake) {
                    Entry::Entered => {
                        prop_assert!(inside < max && queue.is_empty());
                        inside += 1;
                    }
                    Entry::Queued(waiter) => {
                        prop_assert!(inside == max && (queue.len() as u32) < queue_max);
                        queue.push_back(waiter);
                    }
                    Entry::Full => prop_assert!(inside == max),
                },
                3 if inside > 0 => {
                    gate.leave(&spec, &mut wake);
                    match queue.pop_front() {
                        Some(next) => prop_assert_eq!(&woken, &[next.id()]),
                        None => inside -= 1,
                    }
                }
                _ if !queue.is_empty() => {
                    let gone = queue.remove(which % queue.len());
                    let Some(gone) = gone else { continue };
                    gate.abandon(&spec, &gone, &mut wake);
                    prop_assert!(woken.is_empty());
                }
                _ => {}
            }
            prop_assert_eq!(gate.inside(), inside);
            prop_assert_eq!(gate.waiting() as usize, queue.len());
        }
    }
}

/// Threads that enter, wait, give up and leave as they like: never more inside than may be, and
/// in the end every place is free again.
#[test]
fn racing_cores_neither_exceed_nor_lose_places() {
    const CORES: usize = 8;
    const TURNS: usize = 20_000;
    for (max, queue_max) in [(1, 3), (3, 8), (2, 0), (5, 2)] {
        let (gate, spec) = (Gate::new(CORES), spec(max, queue_max));
        let (inside, over, served) = (
            AtomicUsize::new(0),
            AtomicBool::new(false),
            AtomicUsize::new(0),
        );
        std::thread::scope(|scope| {
            for core in 0..CORES {
                let (gate, spec, inside, over, served) = (&gate, &spec, &inside, &over, &served);
                scope.spawn(move || {
                    let core = CoreIndex(core as u32);
                    let mut random = 0x9e37_79b9_7f4a_7c15 ^ u64::from(core.0 + 1);
                    let mut draw = || {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        random >> 32
                    };
                    for _ in 0..TURNS {
                        let patience = draw() % 64;
                        let has_place = match gate.try_enter(spec, core, |_, _| {}) {
                            Entry::Entered => true,
                            Entry::Full => false,
                            Entry::Queued(waiter) => {
                                let waits = (0..patience).any(|_| {
                                    std::thread::yield_now();
                                    waiter.has_place()
                                });
                                if !waits {
                                    gate.abandon(spec, &waiter, |_, _| {});
                                }
                                waits
                            }
                        };
                        if has_place {
                            let others = inside.fetch_add(1, Ordering::SeqCst);
                            if others >= max as usize {
                                over.store(true, Ordering::SeqCst);
                            }
                            (0..draw() % 32).for_each(|_| std::hint::spin_loop());
                            served.fetch_add(1, Ordering::Relaxed);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            gate.leave(spec, |_, _| {});
                        }
                    }
                });
            }
        });
        assert!(!over.into_inner(), "too many inside with {max}");
        assert!(served.into_inner() > TURNS / 2);
        assert_eq!((gate.inside(), gate.waiting()), (0, 0));
        assert_eq!(gate.promised.load(Ordering::SeqCst), 0);
        for _ in 0..max {
            assert!(matches!(enter(&gate, &spec, 0), Entry::Entered));
        }
    }
}
