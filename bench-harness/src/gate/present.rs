//! What a gate says: a table for people at a terminal, and Markdown for a pull request.

use super::judge::{ERROR, Looks};
use crate::facts;
use crate::output;
use crate::results::{GateFigure, GateRun, Pairing, Verdict};
use crate::stats::Spread;

/// The verdict in words.
pub fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NoRegression => "no regression",
        Verdict::TooNoisy => "too noisy to tell",
        Verdict::Regression => "regression",
    }
}

/// How the verdict is reached, in sentences.
pub fn method(looks: &Looks, pairing: Pairing) -> Vec<String> {
    let rounds: Vec<String> = looks.rounds().iter().map(u32::to_string).collect();
    let per_cent = |share: f64| format!("{:.2} %", share * 100.0);
    let interval = match pairing {
        Pairing::Paired => {
            "Both sides are measured in every round, in alternating order, each started anew. The \
             change is the Hodges-Lehmann estimate of the logarithms of the rounds' ratios, its \
             interval that of Wilcoxon's signed-rank test."
        }
        Pairing::Anchored => {
            "The base was measured earlier. In every round of either run a build and the anchor \
             (`ringgate-bench relay`) are measured in alternating order, each started anew, and \
             ratios to the anchor are compared. The change is the Hodges-Lehmann estimate of the \
             difference of their logarithms, its interval that of the rank-sum test; it is wider \
             than that of rounds in which both sides take part, and what the anchor does not \
             share with a gateway is not corrected for."
        }
    };
    vec![
        interval.to_owned(),
        format!(
            "It is looked at after {} rounds, until every figure is decided or one is a \
             regression. Each look at each figure may err by {} on either side, so that the whole \
             gate errs by at most {} on either side (Bonferroni).",
            rounds.join(", "),
            per_cent(looks.tail()),
            per_cent(ERROR),
        ),
        "No regression: the whole interval lies below the threshold. Regression: it lies above. \
         Too noisy to tell: the threshold is within it."
            .to_owned(),
    ]
}

/// For a terminal.
pub fn text(run: &GateRun) -> String {
    let mut rows = vec![strings(&[
        "figure",
        "base",
        "candidate",
        "change",
        "interval",
        "threshold",
        "verdict",
    ])];
    rows.extend(run.figures.iter().map(row));
    let rounds = run
        .figures
        .first()
        .map_or(0, |figure| figure.candidate.len());
    let mut lines = vec![
        format!("work          {}", run.work),
        format!("base          {}", run.base),
        format!("candidate     {}", run.candidate),
        facts::machine_text(&run.circumstances.machine),
    ];
    if let Some(rate) = run.rate {
        lines.push(format!(
            "latency at    {rate:.0} requests per second, from when each was due"
        ));
    }
    lines.push(format!("\n{}\n", output::table(&rows)));
    lines.extend(run.figures.iter().filter_map(advice));
    lines.push(format!("{} after {rounds} rounds", words(run.verdict)));
    lines.join("\n")
}

/// For a pull request.
pub fn markdown(run: &GateRun) -> String {
    let mut text = format!(
        "### Latency gate: {}\n\n`{}`, base against candidate in {} rounds\n\n",
        words(run.verdict),
        code(&run.work),
        run.figures
            .first()
            .map_or(0, |figure| figure.candidate.len())
    );
    text.push_str("| figure | base | candidate | change | interval | threshold | verdict |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|---|\n");
    for figure in &run.figures {
        let mut cells = row(figure);
        if figure.verdict != Verdict::NoRegression
            && let Some(last) = cells.last_mut()
        {
            *last = format!("**{last}**");
        }
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    for advice in run.figures.iter().filter_map(advice) {
        text.push_str(&format!("\n{advice}\n"));
    }
    let machine = &run.circumstances.machine;
    text.push_str("\n<details><summary>How it was measured</summary>\n\n");
    for (what, value) in [
        ("Base", &run.base),
        ("Candidate", &run.candidate),
        ("Command", &run.circumstances.command),
    ] {
        text.push_str(&format!("- {what}: `{}`\n", code(value)));
    }
    text.push_str(&format!(
        "- Machine: `{}`, {} cores, Linux `{}`, load average {} before and {} after\n",
        code(&machine.cpu),
        machine.cores,
        code(&machine.kernel),
        machine.load_before,
        machine.load_after
    ));
    for sentence in &run.method {
        text.push_str(&format!("- {sentence}\n"));
    }
    text.push_str("\n</details>\n");
    text
}

fn row(figure: &GateFigure) -> Vec<String> {
    let side = |values: &[f64]| {
        let spread = Spread::of(values.iter().copied());
        output::spread(spread, decimals(spread.median))
    };
    vec![
        figure.name.clone(),
        side(&figure.base),
        side(&figure.candidate),
        change(figure.ratio),
        format!("{} .. {}", change(figure.low), change(figure.high)),
        change(1.0 + figure.threshold),
        words(figure.verdict).to_owned(),
    ]
}

/// What it would take, of a figure that is too noisy.
fn advice(figure: &GateFigure) -> Option<String> {
    let name = &figure.name;
    (figure.verdict == Verdict::TooNoisy).then(|| match figure.rounds_needed {
        Some(rounds) => format!(
            "{name}: with this noise about {rounds} rounds would tell: --rounds-max {rounds}, or \
             a quieter machine (docs/benchmarking.md)"
        ),
        None => format!(
            "{name}: for this noise the change is so close to the threshold that more rounds would \
             hardly tell; a quieter machine might (docs/benchmarking.md), or another --threshold"
        ),
    })
}

/// `+1.2 %`
fn change(ratio: f64) -> String {
    let change = (ratio - 1.0) * 100.0;
    // No minus before a zero.
    let change = if change.abs() < 0.05 { 0.0 } else { change };
    format!("{change:+.1} %")
}

/// Three figures that mean something.
fn decimals(value: f64) -> usize {
    match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    }
}

/// Within backquotes and a table.
fn code(text: &str) -> String {
    text.replace('`', "'")
        .replace('|', "/")
        .replace(['\n', '\r'], " ")
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_change_has_a_sign_and_no_negative_zero() {
        assert_eq!(change(1.0304), "+3.0 %");
        assert_eq!(change(0.99), "-1.0 %");
        assert_eq!(change(0.99996), "+0.0 %");
    }

    #[test]
    fn the_markdown_leads_with_the_verdict_and_marks_what_is_not_well() {
        let run = samples::gate(Verdict::Regression);
        let text = markdown(&run);
        assert!(text.starts_with("### Latency gate: regression\n"), "{text}");
        assert!(text.contains("| **regression** |"), "{text}");
        assert!(text.contains("+3.0 %"), "{text}");
        assert_eq!(
            text.matches("<details>").count(),
            text.matches("</details>").count()
        );
    }

    #[test]
    fn names_do_not_break_the_markdown() {
        let mut run = samples::gate(Verdict::NoRegression);
        run.work = "a`b|c\n# d".to_owned();
        let text = markdown(&run);
        assert!(text.contains("`a'b/c # d`"), "{text}");
    }

    #[test]
    fn a_noisy_figure_comes_with_what_it_would_take() {
        let mut run = samples::gate(Verdict::TooNoisy);
        let noisy = run.figures.iter_mut();
        noisy.for_each(|figure| figure.rounds_needed = Some(96));
        assert!(text(&run).contains("--rounds-max 96"), "{}", text(&run));
        run.figures
            .iter_mut()
            .for_each(|figure| figure.rounds_needed = None);
        assert!(text(&run).contains("another --threshold"), "{}", text(&run));
    }

    #[test]
    fn the_method_says_what_the_gate_may_err() {
        let looks = Looks::plan(12, 48, 3).unwrap();
        let text = method(&looks, Pairing::Paired).join(" ");
        assert!(text.contains("12, 24, 48 rounds"), "{text}");
        assert!(
            text.contains("0.56 %") && text.contains("at most 5.00 %"),
            "{text}"
        );
        assert_ne!(text, method(&looks, Pairing::Anchored).join(" "));
    }
}
