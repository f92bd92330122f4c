//! Runs workloads with one seed after the other, and makes what fails smaller.

use std::{
    cell::RefCell,
    env,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ringio::{
    ReportKind,
    testing::{Faults, Report, Sim},
};

use crate::support::Rng;

/// One run of a workload: everything it does follows from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    /// The faults that may be armed.
    pub(crate) faults: Faults,
    /// How much there is to do, at most.
    pub(crate) steps: usize,
}

/// Steps of a run where nobody says otherwise.
const STEPS: usize = 40;

impl Run {
    fn of(seed: u64) -> Run {
        Run { seed, faults: Faults::all(), steps: STEPS }
    }

    /// Numbers for the workload itself.
    pub(crate) fn rng(&self) -> Rng {
        Rng::of(self.seed ^ 0x5eed)
    }

    /// From one up to the steps of this run.
    pub(crate) fn some_steps(&self) -> usize {
        (1 + self.rng().below(STEPS)).min(self.steps)
    }

    /// Whether somebody on the way may break connections: then data may be lost, and errors are no surprise.
    pub(crate) fn may_reset(&self) -> bool {
        Sim::new(self.seed).faults(self.faults).armed().contains(Faults::RESET)
    }

    /// How much to send at once: little where everything is torn to pieces, which takes a while.
    pub(crate) fn bytes_max(&self) -> usize {
        let armed = Sim::new(self.seed).faults(self.faults).armed();
        if armed.intersects(Faults::SHORT | Faults::SMALL) { 200 } else { 20_000 }
    }

    /// Runs a program in this run's kernel. What its tasks say to nobody fails the run too.
    pub(crate) fn program<F: Future>(&self, main: F) -> Report<F::Output> {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let heard = reports.clone();
        let report = Sim::new(self.seed)
            .faults(self.faults)
            .turns_max(3_000_000)
            .runner(|builder| builder.error_handler(move |report| heard.borrow_mut().push(report.clone())))
            .report(main);
        for report in &*reports.borrow() {
            let expected =
                matches!(report.kind, ReportKind::AcceptPaused | ReportKind::ChildKilled | ReportKind::ChildStatusLost)
                    || report.kind == ReportKind::ErrorNeverRetrieved && self.may_reset();
            assert!(expected, "a report that nobody asked for: {report}");
        }
        report
    }

    /// The line that does the same again.
    fn line(&self, test: &str) -> String {
        let names: Vec<_> = self.faults.iter_names().map(|(name, _)| name).collect();
        format!(
            "RINGIO_SEED={} RINGIO_FAULTS='{}' RINGIO_STEPS={} cargo test -p ringio-uring-tests --test uring {test}",
            self.seed,
            names.join("|"),
            self.steps
        )
    }
}

/// How long each workload is run.
fn time() -> Duration {
    let seconds = env::var("RINGIO_GAUNTLET_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds.unwrap_or(3.0))
}

/// The one run that the environment asks for.
fn asked_for() -> Option<Run> {
    let seed = env::var("RINGIO_SEED").ok()?.parse().expect("RINGIO_SEED is a decimal number");
    let steps = env::var("RINGIO_STEPS").map_or(STEPS, |text| text.parse().expect("RINGIO_STEPS is a number"));
    // RINGIO_FAULTS is read by the simulation itself.
    Some(Run { steps, ..Run::of(seed) })
}

/// Runs a workload with the seeds that failed once, then with fresh ones.
pub(crate) fn gauntlet(test: &str, failed_once: &[u64], workload: impl Fn(Run)) {
    if let Some(run) = asked_for() {
        return workload(run);
    }
    for seed in failed_once {
        check(test, Run::of(*seed), &workload);
    }
    let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let (begin, limit) = (Instant::now(), time());
    let mut seeds = 0_u64;
    while begin.elapsed() < limit {
        check(test, Run::of(first.wrapping_add(seeds)), &workload);
        seeds += 1;
    }
    let rate = seeds as f64 / begin.elapsed().as_secs_f64();
    eprintln!("{test}: {seeds} seeds from {first} on, {rate:.0} seeds/s, no failure");
}

fn check(test: &str, run: Run, workload: &impl Fn(Run)) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| workload(run))) else { return };
    eprintln!("{test} failed; making it smaller");
    let least = shrink(run, |run| catch_unwind(AssertUnwindSafe(|| workload(run))).is_err());
    eprintln!("as found: {}", run.line(test));
    eprintln!("smaller:  {}", least.line(test));
    resume_unwind(payload);
}

/// The same failure with fewer faults and fewer steps, as far as leaving out one after the other gets.
fn shrink(run: Run, fails: impl Fn(Run) -> bool) -> Run {
    let mut least = run;
    let armed = Sim::new(run.seed).faults(run.faults).armed();
    let only_armed = Run { faults: armed, ..run };
    if fails(only_armed) {
        least = only_armed;
    }
    for fault in armed.iter() {
        let without = Run { faults: least.faults - fault, ..least };
        if fails(without) {
            least = without;
        }
    }
    let mut step = least.steps / 2;
    while step > 0 {
        let shorter = Run { steps: least.steps.saturating_sub(step), ..least };
        if shorter.steps > 0 && fails(shorter) {
            least = shorter;
        } else {
            step /= 2;
        }
    }
    least
}

#[test]
fn shrinking_leaves_what_the_failure_needs() {
    let seed = (0..).find(|&seed| Sim::new(seed).armed().contains(Faults::CUT | Faults::DELAY)).unwrap();
    let least = shrink(Run::of(seed), |run| run.faults.contains(Faults::CUT) && run.steps >= 7);
    assert_eq!((least.faults, least.steps), (Faults::CUT, 7));
}
