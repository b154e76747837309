//! Two futures polled by one task, without spawning and without waking itself.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Which of two futures ended first.
pub enum First<A, B> {
    /// The left one, with its output.
    Left(A),
    /// The right one, with its output.
    Right(B),
}

/// Runs both to their end.
pub async fn join<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut left_out, mut right_out) = (None, None);
    poll_fn(move |cx| {
        if left_out.is_none()
            && let Poll::Ready(out) = left.as_mut().poll(cx)
        {
            left_out = Some(out);
        }
        if right_out.is_none()
            && let Poll::Ready(out) = right.as_mut().poll(cx)
        {
            right_out = Some(out);
        }
        match (left_out.take(), right_out.take()) {
            (Some(left), Some(right)) => Poll::Ready((left, right)),
            (left, right) => {
                (left_out, right_out) = (left, right);
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs both until one ends; the other keeps its state and can be awaited on.
pub async fn race<A: Future, B: Future>(
    left: &mut Pin<&mut A>,
    right: &mut Pin<&mut B>,
) -> First<A::Output, B::Output> {
    poll_fn(|cx| {
        if let Poll::Ready(out) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(out));
        }
        match right.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(First::Right(out)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
