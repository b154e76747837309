//! A comparison of two builds: the verdict, its figures, every round.

use super::facts;
use super::html::{code, details, e, table, word};
use super::loads::commands;
use super::pairs;
use super::scale::{fixed, grouped};
use super::{Named, Section, curve};
use crate::results::{GateFigure, GateRun, Pairing, Verdict};
use crate::stats::Spread;

/// One comparison.
pub fn section(run: &Named<GateRun>) -> Section {
    let result = &run.result;
    let mut body = banner(result);
    body.push_str(&facts::list(&[
        ("Base", &result.base),
        ("Candidate", &result.candidate),
    ]));
    body.push_str(&summary(result));
    let charts = result.figures.iter().map(|figure| match result.pairing {
        Pairing::Paired => pairs::chart(figure),
        Pairing::Anchored => pairs::strips(figure),
    });
    let charts: String = charts.collect();
    body.push_str(&match result.pairing {
        Pairing::Paired => format!("<div class=\"row\">\n{charts}</div>\n"),
        Pairing::Anchored => charts,
    });
    body.push_str(&details("The method", &method(result)));
    body.push_str(&commands("Commands", &result.commands));
    body.push_str(&configs(result));
    let machine = facts::machine(&result.circumstances.machine);
    let provenance = facts::provenance(&result.circumstances, &run.file);
    body.push_str(&details("Machine", &format!("{machine}{provenance}")));
    Section {
        id: curve::id(&["gate", &run.name]),
        title: format!("Gate: {}", run.name),
        body,
    }
}

fn banner(run: &GateRun) -> String {
    let rounds = run
        .figures
        .first()
        .map_or(0, |figure| figure.candidate.len());
    let (class, sign, words) = verdict(run.verdict);
    format!(
        "<p class=\"verdict {class}\"><span aria-hidden=\"true\">{sign}</span> <b>{words}</b> \
         <span>{} in {rounds} rounds</span></p>\n",
        e(&run.work)
    )
}

/// Class, sign and words of a verdict: never the colour alone.
pub fn verdict(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::NoRegression => ("well", "✓", "No regression"),
        Verdict::TooNoisy => ("open", "?", "Too noisy to tell"),
        Verdict::Regression => ("ill", "✕", "Regression"),
    }
}

fn summary(run: &GateRun) -> String {
    let rows = run.figures.iter().map(|figure| {
        let (class, sign, words) = verdict(figure.verdict);
        vec![
            e(&figure.name).to_string(),
            word(class, &format!("{sign} {words}")),
            format!("<b>{}</b>", change(figure.ratio)),
            format!("{} to {}", change(figure.low), change(figure.high)),
            change(1.0 + figure.threshold),
            spread(&figure.base),
            spread(&figure.candidate),
        ]
    });
    let heads = [
        "figure",
        "verdict",
        "change",
        "interval",
        "threshold",
        "base",
        "candidate",
    ];
    let unit = match run.pairing {
        Pairing::Paired => "Medians with least and greatest of the rounds, in microseconds.",
        Pairing::Anchored => {
            "Medians with least and greatest of the rounds, as ratios to the anchor."
        }
    };
    let rate = run.rate.map_or_else(String::new, |rate| {
        format!(
            " Latency at {} requests per second, from when each was due.",
            grouped(rate)
        )
    });
    let table = table("Figures of the gate", &heads, &rows.collect::<Vec<_>>());
    let advice = run.figures.iter().filter_map(advice);
    let advice: String = advice.collect();
    format!("{table}{advice}<p class=\"soft\">{unit}{rate}</p>\n")
}

/// What it would take, of a figure that is too noisy.
fn advice(figure: &GateFigure) -> Option<String> {
    let name = e(&figure.name);
    (figure.verdict == Verdict::TooNoisy).then(|| match figure.rounds_needed {
        Some(rounds) => format!(
            "<p>{name}: with this noise about {} rounds would tell.</p>\n",
            grouped(f64::from(rounds))
        ),
        None => format!("<p>{name}: with this noise more rounds would hardly tell.</p>\n"),
    })
}

/// `20.3 (19.9 to 21.4)`
fn spread(values: &[f64]) -> String {
    let Spread { median, min, max } = Spread::of(values.iter().copied());
    let [median, min, max] = [median, min, max].map(fixed);
    format!("<b>{median}</b> <span class=\"soft\">({min} to {max})</span>")
}

/// `+1.2 %`, with a minus that is one.
pub fn change(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    match percent {
        percent if !percent.is_finite() => "-".to_owned(),
        percent if percent <= -0.05 => format!("−{:.1} %", -percent),
        percent => format!("+{:.1} %", percent.max(0.0)),
    }
}

fn method(run: &GateRun) -> String {
    let each = run
        .method
        .iter()
        .map(|sentence| format!("<p>{}</p>\n", e(sentence)));
    each.collect()
}

fn configs(run: &GateRun) -> String {
    let mut text = String::new();
    if run.base_config == run.candidate_config {
        if !run.base_config.is_empty() {
            text.push_str(&details("Configuration of both", &code(&run.base_config)));
        }
        return text;
    }
    for (whose, config) in [
        ("base", &run.base_config),
        ("candidate", &run.candidate_config),
    ] {
        if !config.is_empty() {
            text.push_str(&details(
                &format!("Configuration of the {whose}"),
                &code(config),
            ));
        }
    }
    text
}

/// The sentence of a figure for those who do not see its chart.
pub fn describe(figure: &GateFigure) -> String {
    let (_, _, words) = verdict(figure.verdict);
    format!(
        "{}: {words}; {} with an interval from {} to {}, threshold {}",
        figure.name,
        change(figure.ratio),
        change(figure.low),
        change(figure.high),
        change(1.0 + figure.threshold)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;
    use crate::report::samples;

    fn body(run: GateRun) -> String {
        section(&Named {
            name: "a \"b\" <c>".to_owned(),
            file: "x.json".to_owned(),
            result: run,
        })
        .body
    }

    #[test]
    fn every_verdict_is_in_words_and_well_formed() {
        for (verdict, words) in [
            (Verdict::NoRegression, "No regression"),
            (Verdict::TooNoisy, "Too noisy to tell"),
            (Verdict::Regression, "Regression"),
        ] {
            let body = body(samples::gate(verdict));
            assert_eq!(fault_in(&body), None);
            assert!(body.contains(&format!("<b>{words}</b>")), "{words}");
        }
    }

    #[test]
    fn a_comparison_with_a_baseline_has_no_pairs() {
        let mut run = samples::gate(Verdict::NoRegression);
        run.pairing = Pairing::Anchored;
        run.figures
            .iter_mut()
            .for_each(|figure| figure.base.truncate(7));
        let body = body(run);
        assert_eq!(fault_in(&body), None);
        assert!(body.contains("ratios to the anchor"), "{body}");
    }

    #[test]
    fn one_configuration_is_shown_once() {
        let mut run = samples::gate(Verdict::NoRegression);
        run.base_config = "[runtime]\n".to_owned();
        run.candidate_config = run.base_config.clone();
        assert!(configs(&run).contains("Configuration of both"));
        run.candidate_config.push_str("workers = 2\n");
        assert_eq!(configs(&run).matches("<details>").count(), 2);
    }

    #[test]
    fn a_change_has_a_sign() {
        assert_eq!(change(1.031), "+3.1 %");
        assert_eq!(change(0.97), "−3.0 %");
        assert_eq!(change(0.9999), "+0.0 %");
    }
}
