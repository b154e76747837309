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
pub struct Pooled<F: ?Sized> {
    future: NonNull<F>,
    memory: Memory,
    owns: PhantomData<F>,
}

impl<'f, F: Future + 'f> Pooled<F> {
    /// The same future, its type forgotten.
    pub fn erased(self) -> Pooled<dyn Future<Output = F::Output> + 'f> {
        let this = std::mem::ManuallyDrop::new(self);
        Pooled {
            future: this.future,
            memory: Memory { ..this.memory },
            owns: PhantomData,
        }
    }
}

// The future never moves: only the pointer to it does.
impl<F: ?Sized> Unpin for Pooled<F> {}

impl<F: Future + ?Sized> Future for Pooled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future was written in `pooled`, is dropped only with `self`, and stays
        // at its address until then.
        let future = unsafe { Pin::new_unchecked(self.future.as_mut()) };
        future.poll(cx)
    }
}

impl<F: ?Sized> Drop for Pooled<F> {
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

/// Pieces of one layout that a core keeps for reuse.
const KEPT_MAX: usize = 1024;

impl Memory {
    fn take(layout: Layout) -> Memory {
        let kept = FREE.with_borrow_mut(|free| free.of(layout).pop());
        match kept {
            Some(at) => Memory { at, layout },
            None => Memory::allocate(layout),
        }
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
        let kept = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            let pieces = free.of(self.layout);
            let room = pieces.len() < KEPT_MAX;
            if room {
                pieces.push(self.at);
            }
            room
        });
        // At thread exit the lists are gone and the pieces with them: the process ends.
        if kept == Ok(false) {
            self.free();
        }
    }

    fn free(&self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated in `allocate` with this layout, and nobody holds it.
            unsafe { dealloc(self.at.as_ptr(), self.layout) };
        }
    }
}

/// Frees what the lists hold beyond a sixteenth of their caps; for quiet cores.
pub fn trim_pooled() {
    FREE.with_borrow_mut(|free| {
        for (layout, pieces) in &mut free.0 {
            for at in pieces.drain(pieces.len().min(KEPT_MAX / 16)..) {
                Memory {
                    at,
                    layout: *layout,
                }
                .free();
            }
        }
    });
}

/// Free pieces by layout; there are as many layouts as kinds of pooled futures: a few.
struct Free(Vec<(Layout, Vec<NonNull<u8>>)>);

impl Free {
    fn of(&mut self, layout: Layout) -> &mut Vec<NonNull<u8>> {
        let found = self.0.iter().position(|(of, _)| *of == layout);
        let index = found.unwrap_or_else(|| {
            self.0.push((layout, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }
}

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Free(Vec::new())) };
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
