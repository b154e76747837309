//! Futures in pooled memory.
//!
//! An exchange's future is large, and an idle connection should not carry room for one. So
//! it lives in memory of its own that goes back to a list of the core when the future ends:
//! after the first few requests nothing is allocated any more.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// Puts the future that `make` builds into pooled memory.
pub fn pooled<F: Future>(make: impl FnOnce() -> F) -> Pooled<F> {
    let memory = Memory::take(Layout::new::<F>());
    let future = memory.at.cast::<F>();
    // SAFETY: the memory is fresh or was given back, and has the layout of `F`.
    unsafe { future.write(make()) };
    Pooled {
        future,
        memory,
        owns: PhantomData,
    }
}

/// A pinned future in pooled memory.
pub struct Pooled<F> {
    future: NonNull<F>,
    memory: Memory,
    owns: PhantomData<F>,
}

// The future never moves: only the pointer to it does.
impl<F> Unpin for Pooled<F> {}

impl<F: Future> Future for Pooled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future was written in `pooled`, is dropped only with `self`, and stays
        // at its address until then.
        let future = unsafe { Pin::new_unchecked(self.future.as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for Pooled<F> {
    fn drop(&mut self) {
        // SAFETY: written in `pooled` and not dropped before.
        unsafe { self.future.drop_in_place() };
        self.memory.give_back();
    }
}

struct Memory {
    at: NonNull<u8>,
    layout: Layout,
}

/// Pieces that a core keeps for reuse, of all layouts together.
const KEPT_MAX: usize = 1024;

impl Memory {
    fn take(layout: Layout) -> Memory {
        let kept = FREE.with_borrow_mut(|free| match free.last() {
            // Nearly always all pieces are of one layout: that of the exchange.
            Some(last) if last.layout == layout => free.pop(),
            _ => {
                let index = free.iter().position(|piece| piece.layout == layout)?;
                Some(free.swap_remove(index))
            }
        });
        kept.unwrap_or_else(|| Memory::allocate(layout))
    }

    fn allocate(layout: Layout) -> Memory {
        if layout.size() == 0 {
            return Memory {
                at: NonNull::dangling(),
                layout,
            };
        }
        // SAFETY: the layout is not empty.
        let at = unsafe { alloc(layout) };
        match NonNull::new(at) {
            Some(at) => Memory { at, layout },
            None => handle_alloc_error(layout),
        }
    }

    fn give_back(&self) {
        let piece = Memory {
            at: self.at,
            layout: self.layout,
        };
        let full = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT_MAX {
                free.push(piece);
                return None;
            }
            Some(piece)
        });
        // At thread exit the list is gone and the piece with it: the process ends.
        if let Ok(Some(piece)) = full {
            piece.free();
        }
    }

    fn free(self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated in `allocate` with this layout, and nobody holds it.
            unsafe { dealloc(self.at.as_ptr(), self.layout) };
        }
    }
}

/// Frees what the list holds beyond a sixteenth of its cap; for quiet cores.
pub fn trim_pooled() {
    let excess: Vec<Memory> = FREE.with_borrow_mut(|free| {
        let keep = free.len().min(KEPT_MAX / 16);
        free.drain(keep..).collect()
    });
    excess.into_iter().for_each(Memory::free);
}

thread_local! {
    static FREE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::task::Waker;

    #[test]
    fn memory_is_reused_and_captures_are_dropped() {
        let held = Rc::new(());
        let make = |held: Rc<()>| pooled(move || async move { Rc::strong_count(&held) });
        let mut first = make(Rc::clone(&held));
        let at = first.future.cast::<u8>();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut first).poll(&mut cx), Poll::Ready(2));
        drop(first);
        assert_eq!(Rc::strong_count(&held), 1);
        let second = make(Rc::clone(&held));
        assert_eq!(second.future.cast::<u8>(), at);
        drop(second);
        assert_eq!(Rc::strong_count(&held), 1);
        trim_pooled();
    }
}
