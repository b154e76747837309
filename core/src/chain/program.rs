//! Programs: the filters of a route in order, and one run of them over an exchange.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Answer, Attributes, Bodies, BodyMode, BodyPhase, BodyVerdict, CallOutcome, Calls, Filter,
    RequestPhase, ResponsePhase, Summary, Verdict,
};
use crate::block::Block;
use crate::errand::Errand;
use crate::http::{RequestHead, ResponseHead};
use crate::rt::clock::Stamp;
use crate::stats::{CoreIndex, FilterStats, PerCore};

/// A filter in a program, with its counters.
#[derive(Debug)]
pub struct Step<F> {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The filter, shared between the routes that name it.
    pub filter: Arc<F>,
    /// Its counters.
    pub stats: Arc<PerCore<FilterStats>>,
}

/// The filters of one route, in order.
#[derive(Debug)]
pub struct Program<F> {
    steps: Box<[Step<F>]>,
    request_body: BodyMode,
    response_body: BodyMode,
}

impl<F: Filter> Program<F> {
    /// Compiles the steps of a route.
    pub fn new(steps: Vec<Step<F>>) -> Program<F> {
        let most = |mode: fn(&F) -> BodyMode| {
            let modes = steps.iter().map(|step| mode(&step.filter));
            modes.fold(BodyMode::Skip, strictest)
        };
        Program {
            request_body: most(F::request_body_mode),
            response_body: most(F::response_body_mode),
            steps: steps.into_boxed_slice(),
        }
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Step<F>] {
        &self.steps
    }

    /// What the filters together want of request bodies.
    pub fn request_body_mode(&self) -> BodyMode {
        self.request_body
    }

    /// What the filters together want of response bodies.
    pub fn response_body_mode(&self) -> BodyMode {
        self.response_body
    }
}

/// Of two modes the one that serves both; of two limits the smaller one.
fn strictest(left: BodyMode, right: BodyMode) -> BodyMode {
    match (left, right) {
        (BodyMode::Whole { max: a }, BodyMode::Whole { max: b }) => {
            BodyMode::Whole { max: a.min(b) }
        }
        (left, right) => left.max(right),
    }
}

/// One run of a program: where it stands and on which core.
pub struct Run<'a, F: Filter> {
    program: &'a Program<F>,
    core: CoreIndex,
    state: &'a RefCell<F::Core>,
    scratch: &'a RefCell<F::Scratch>,
    rehearsal: Option<&'a Rehearsal>,
}

/// A request-head phase that is only explained: the time is told, and what filters say of their
/// decisions is kept.
#[derive(Debug)]
pub struct Rehearsal {
    now: Stamp,
    /// The place of a filter in its program, and what it said.
    told: RefCell<Vec<(usize, String)>>,
}

impl Rehearsal {
    /// At this time, whatever the clock says.
    pub fn at(now: Stamp) -> Rehearsal {
        Rehearsal {
            now,
            told: RefCell::default(),
        }
    }

    /// The time that is told.
    pub fn now(&self) -> Stamp {
        self.now
    }

    /// What filters said, by their places in the program.
    pub fn into_told(self) -> Vec<(usize, String)> {
        self.told.into_inner()
    }
}

impl<F: Filter> Clone for Run<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Filter> Copy for Run<'_, F> {}

/// The request that the request-head phase is about.
pub struct Subject<'s> {
    /// Its head.
    pub head: &'s mut RequestHead,
    /// What else is known of it.
    pub attributes: &'s mut Attributes,
    /// The wall's clock, in milliseconds since the UNIX epoch.
    pub unix_ms: u64,
}

/// The first 64 steps of a program that would have refused an exchange, had they not only watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched(u64);

impl Watched {
    /// Their places in the program, in order.
    pub fn steps(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |step| self.0 >> step & 1 == 1)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Where the request-head phase stands: in front of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position(pub usize);

/// What the request-head phase needs next.
#[derive(Debug)]
pub enum Progress {
    /// Every filter let the request pass.
    Passed,
    /// This answer, by the step at the index.
    Answered(Box<Answer>, usize),
    /// These calls; then [`Run::resume`] at the position.
    Calls(Box<Calls>, Position),
    /// This errand; then [`Run::resume`] at the position, without outcomes.
    Errand(Box<Errand>, Position),
    /// This much time; then [`Run::request_head`] from the position on.
    Pause(Duration, Position),
}

impl<'a, F: Filter> Run<'a, F> {
    /// A run of `program` on a core with that core's and the exchange's memory.
    pub fn new(
        program: &'a Program<F>,
        core: CoreIndex,
        state: &'a RefCell<F::Core>,
        scratch: &'a RefCell<F::Scratch>,
    ) -> Run<'a, F> {
        Run {
            program,
            core,
            state,
            scratch,
            rehearsal: None,
        }
    }

    /// The same run as a rehearsal, if it is one.
    pub fn rehearsed(self, rehearsal: Option<&'a Rehearsal>) -> Run<'a, F> {
        Run { rehearsal, ..self }
    }

    /// The program that runs.
    pub fn program(&self) -> &'a Program<F> {
        self.program
    }

    /// What the filters together want of this exchange's request body, which may be less than
    /// what their modes say; known behind the request-head phase.
    pub fn request_body_mode(&self) -> BodyMode {
        self.mode(self.program.request_body, F::request_body_mode)
    }

    /// The same of its response body.
    pub fn response_body_mode(&self) -> BodyMode {
        self.mode(self.program.response_body, F::response_body_mode)
    }

    fn mode(&self, most: BodyMode, mode: fn(&F) -> BodyMode) -> BodyMode {
        if most == BodyMode::Skip {
            return most;
        }
        let scratch = &*self.scratch.borrow();
        let steps = self.program.steps.iter();
        let wanting = steps.filter(|step| step.filter.bodies(scratch) == Bodies::Wanted);
        let modes = wanting.map(|step| mode(&step.filter));
        modes.fold(BodyMode::Skip, strictest)
    }

    /// Asks the filters for the answer to a preflight.
    pub fn preflight(&self, subject: Subject<'_>) -> Option<(Box<Answer>, usize)> {
        let core = &mut *self.state.borrow_mut();
        let scratch = &mut *self.scratch.borrow_mut();
        let now = Stamp::now();
        let mut steps = self.program.steps.iter().enumerate();
        steps.find_map(|(index, step)| {
            let mut phase = RequestPhase {
                head: &mut *subject.head,
                attributes: &mut *subject.attributes,
                core: &mut *core,
                scratch: &mut *scratch,
                now: self.rehearsal.map_or(now, |rehearsal| rehearsal.now),
                unix_ms: subject.unix_ms,
            };
            let answer = step.filter.preflight(&mut phase)?;
            Some((answer, index))
        })
    }

    /// Runs the request-head phase from a position on.
    pub fn request_head(&self, from: Position, subject: Subject<'_>) -> Progress {
        self.request_head_from(from, None, subject)
    }

    /// Goes on with the request-head phase after the calls of the filter at `position`.
    pub fn resume(
        &self,
        position: Position,
        outcomes: &[CallOutcome],
        subject: Subject<'_>,
    ) -> Progress {
        self.request_head_from(position, Some(outcomes), subject)
    }

    fn request_head_from(
        &self,
        Position(first): Position,
        mut outcomes: Option<&[CallOutcome]>,
        subject: Subject<'_>,
    ) -> Progress {
        if self.program.steps.len() <= first {
            return Progress::Passed;
        }
        let core = &mut *self.state.borrow_mut();
        let scratch = &mut *self.scratch.borrow_mut();
        let mut began = Stamp::now();
        for (index, step) in self.program.steps.iter().enumerate().skip(first) {
            let mut phase = RequestPhase {
                head: &mut *subject.head,
                attributes: &mut *subject.attributes,
                core: &mut *core,
                scratch: &mut *scratch,
                now: self.rehearsal.map_or(began, |rehearsal| rehearsal.now),
                unix_ms: subject.unix_ms,
            };
            let verdict = match outcomes.take() {
                Some(outcomes) => step.filter.resume(&mut phase, outcomes),
                None => step.filter.request_head(&mut phase),
            };
            if let Some(rehearsal) = self.rehearsal {
                let told = step.filter.tell(&phase).map(|text| (index, text));
                rehearsal.told.borrow_mut().extend(told);
            }
            began = self.charge(step, began);
            match verdict {
                Verdict::Continue => {}
                Verdict::Respond(answer) => {
                    step.stats.of(self.core).refusals.add(1);
                    return Progress::Answered(answer, index);
                }
                Verdict::Call(calls) => return Progress::Calls(calls, Position(index)),
                Verdict::Ask(errand) => return Progress::Errand(errand, Position(index)),
                Verdict::Pause(time) => return Progress::Pause(time, Position(index + 1)),
            }
        }
        Progress::Passed
    }

    /// Runs the response-head phase; later filters see it first, as they stand nearer to the
    /// origin.
    ///
    /// # Errors
    /// The answer that is to take the response's place.
    pub fn response_head(
        &self,
        head: &mut ResponseHead,
        request: &RequestHead,
        attributes: &Attributes,
    ) -> Result<(), Box<Answer>> {
        if self.program.steps.is_empty() {
            return Ok(());
        }
        let core = &mut *self.state.borrow_mut();
        let scratch = &mut *self.scratch.borrow_mut();
        let mut began = Stamp::now();
        for step in self.program.steps.iter().rev() {
            let verdict = step.filter.response_head(&mut ResponsePhase {
                head: &mut *head,
                request,
                attributes,
                core: &mut *core,
                scratch: &mut *scratch,
                now: began,
            });
            began = self.charge(step, began);
            self.settle(step, verdict)?;
        }
        Ok(())
    }

    /// Shows a piece of the request body to the filters that want it; with the last one its
    /// trailers, lines `name: value\r\n`, which they may change.
    ///
    /// # Errors
    /// The answer of the filter that refused.
    pub fn request_body(
        &self,
        piece: &mut Block,
        last: bool,
        passed: u64,
        trailers: &mut Vec<u8>,
    ) -> Result<(), Box<Answer>> {
        let wants = |step: &&Step<F>| step.filter.request_body_mode() != BodyMode::Skip;
        let steps = self.program.steps.iter().filter(wants);
        self.body(steps, F::request_body, piece, last, passed, trailers)
    }

    /// Shows a piece of the response body to the filters that want it; with the last one its
    /// trailers, lines `name: value\r\n`, which they may change.
    ///
    /// # Errors
    /// The answer of the filter that refused.
    pub fn response_body(
        &self,
        piece: &mut Block,
        last: bool,
        passed: u64,
        trailers: &mut Vec<u8>,
    ) -> Result<(), Box<Answer>> {
        let wants = |step: &&Step<F>| step.filter.response_body_mode() != BodyMode::Skip;
        let steps = self.program.steps.iter().rev().filter(wants);
        self.body(steps, F::response_body, piece, last, passed, trailers)
    }

    fn body<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step<F>>,
        decide: impl Fn(&F, &mut BodyPhase<'_, F>) -> BodyVerdict,
        piece: &mut Block,
        last: bool,
        passed: u64,
        trailers: &mut Vec<u8>,
    ) -> Result<(), Box<Answer>>
    where
        F: 's,
    {
        let core = &mut *self.state.borrow_mut();
        let scratch = &mut *self.scratch.borrow_mut();
        let mut began = Stamp::now();
        for step in steps {
            if step.filter.bodies(scratch) == Bodies::Unwanted {
                continue;
            }
            let mut phase = BodyPhase {
                piece: &mut *piece,
                last,
                passed,
                trailers: &mut *trailers,
                core: &mut *core,
                scratch: &mut *scratch,
                now: began,
            };
            let verdict = decide(&step.filter, &mut phase);
            began = self.charge(step, began);
            self.settle(step, verdict)?;
        }
        Ok(())
    }

    /// Tells every filter that the exchange has ended.
    pub fn end(&self, summary: &Summary) -> Watched {
        let mut watched = Watched::default();
        if self.program.steps.is_empty() {
            return watched;
        }
        let core = &mut *self.state.borrow_mut();
        let scratch = &mut *self.scratch.borrow_mut();
        for (index, step) in self.program.steps.iter().enumerate() {
            let refuses = step.filter.would_refuse(scratch);
            watched.0 |= u64::from(refuses).checked_shl(index as u32).unwrap_or(0);
            step.filter.end(summary, core, scratch);
        }
        *scratch = F::Scratch::default();
        watched
    }

    fn charge(&self, step: &Step<F>, began: Stamp) -> Stamp {
        let now = Stamp::now();
        let stats = step.stats.of(self.core);
        stats.calls.add(1);
        stats.nanos.add(now.nanos_since(began));
        now
    }

    fn settle(&self, step: &Step<F>, verdict: BodyVerdict) -> Result<(), Box<Answer>> {
        match verdict {
            BodyVerdict::Continue => Ok(()),
            BodyVerdict::Refuse(answer) => {
                step.stats.of(self.core).refusals.add(1);
                Err(answer)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::chain::Bodies;
    use crate::stats::Registry;

    /// Rewrites bodies of exchanges that it was told of.
    struct Marks(BodyMode);

    impl Filter for Marks {
        type Core = ();
        type Scratch = bool;

        fn response_body_mode(&self) -> BodyMode {
            self.0
        }

        fn bodies(&self, told: &bool) -> Bodies {
            match (self.0, told) {
                (BodyMode::Rewrite, false) => Bodies::Unwanted,
                _ => Bodies::Wanted,
            }
        }

        fn response_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
            if phase.last {
                phase.trailers.extend_from_slice(b"x: y\r\n");
            }
            BodyVerdict::Continue
        }

        fn describe(&self) -> String {
            String::new()
        }
    }

    /// The mode of an exchange, and the trailers that its last piece ends with.
    fn ended(modes: &[BodyMode], told: bool) -> (BodyMode, Vec<u8>) {
        let registry = Registry::new(1);
        let steps = modes.iter().map(|mode| Step {
            name: "f".into(),
            filter: Arc::new(Marks(*mode)),
            stats: registry.filter("f"),
        });
        let program = Program::new(steps.collect());
        let (state, scratch) = (RefCell::new(()), RefCell::new(told));
        let run = Run::new(&program, CoreIndex(0), &state, &scratch);
        let mut trailers = Vec::new();
        let mut piece = Block::empty();
        run.response_body(&mut piece, true, 0, &mut trailers)
            .unwrap();
        (run.response_body_mode(), trailers)
    }

    #[test]
    fn a_filter_without_use_for_an_exchanges_bodies_costs_them_nothing() {
        let (rewrite, observe) = (BodyMode::Rewrite, BodyMode::Observe);
        assert_eq!(ended(&[rewrite], false), (BodyMode::Skip, Vec::new()));
        assert_eq!(ended(&[rewrite], true), (rewrite, b"x: y\r\n".to_vec()));
        let (mode, trailers) = ended(&[rewrite, observe], false);
        assert_eq!((mode, &trailers[..]), (observe, &b"x: y\r\n"[..]));
    }
}
