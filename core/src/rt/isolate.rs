//! Keeps a panic inside the task it happened in.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `future`; calls `on_panic` instead of unwinding into the runtime when it panics.
/// The runtime itself does not catch: one panic would take the whole core with it.
pub fn isolate<F, P>(future: F, on_panic: P) -> impl Future<Output = ()>
where
    F: Future<Output = ()> + 'static,
    P: FnOnce() + 'static,
{
    Isolated {
        future: Some(Box::pin(future)),
        on_panic: Some(on_panic),
    }
}

struct Isolated<P> {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    on_panic: Option<P>,
}

// The future is boxed and never moved; the callback needs no pin.
impl<P> Unpin for Isolated<P> {}

impl<P: FnOnce()> Future for Isolated<P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(()),
            Err(_) => {
                // What is left of the task may panic again while it is dropped.
                let future = self.future.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
                if let Some(on_panic) = self.on_panic.take() {
                    on_panic();
                }
                Poll::Ready(())
            }
        }
    }
}
