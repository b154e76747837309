//! Bars from zero, as wide as the page: their places are shares of the width, so that letters
//! keep their size on every page.

use super::html::e;
use super::paint::Paint;
use super::scale::{ZeroAxis, fixed};

/// A ratio with its interval.
#[derive(Debug, Clone, PartialEq)]
pub struct RatioBar<'a> {
    /// Whose.
    pub name: &'a str,
    /// How it looks.
    pub paint: Paint,
    /// Its median.
    pub ratio: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Ratios to `reference`, whose line is at 1.
pub fn ratios(title: &str, reference: &str, bars: &[RatioBar<'_>]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let axis = ZeroAxis::holding(bars.iter().map(|bar| bar.high.max(bar.ratio)).chain([1.0]));
    let mut text = format!(
        "<figure class=\"bars\"><figcaption>{} <span class=\"soft\">1 = {}; less is better</span></figcaption>\n",
        e(title),
        e(reference)
    );
    for bar in bars {
        let [ratio, low, high, one] =
            [bar.ratio, bar.low, bar.high, 1.0].map(|value| axis.percent(value));
        text.push_str(&format!(
            "<div class=\"bar\"><span class=\"who\">{}</span>\
             <svg class=\"track\" width=\"100%\" height=\"24\" aria-hidden=\"true\">\
             <rect class=\"fill {}\" x=\"0\" y=\"4\" height=\"16\" width=\"{ratio:.2}%\"/>\
             <line class=\"one\" x1=\"{one:.2}%\" x2=\"{one:.2}%\" y1=\"0\" y2=\"24\"/>\
             <line class=\"whisker\" x1=\"{low:.2}%\" x2=\"{high:.2}%\" y1=\"12\" y2=\"12\"/>\
             <line class=\"whisker\" x1=\"{low:.2}%\" x2=\"{low:.2}%\" y1=\"8\" y2=\"16\"/>\
             <line class=\"whisker\" x1=\"{high:.2}%\" x2=\"{high:.2}%\" y1=\"8\" y2=\"16\"/></svg>\
             <span class=\"value\">{}</span></div>\n",
            e(bar.name),
            bar.paint.class(),
            interval(bar.ratio, bar.low, bar.high),
        ));
    }
    text.push_str("</figure>\n");
    text
}

/// `0.68 [0.66, 0.71]`, the interval in a softer voice.
pub fn interval(ratio: f64, low: f64, high: f64) -> String {
    if !ratio.is_finite() {
        return "-".to_owned();
    }
    format!(
        "<b>{}</b> <span class=\"soft\">[{}, {}]</span>",
        fixed(ratio),
        fixed(low),
        fixed(high)
    )
}

/// CPU time in two parts.
#[derive(Debug, Clone, PartialEq)]
pub struct StackedBar<'a> {
    /// Whose.
    pub name: &'a str,
    /// How it looks.
    pub paint: Paint,
    /// Microseconds in user mode.
    pub user: f64,
    /// Microseconds in the kernel.
    pub system: f64,
}

/// CPU time of user and system behind each other.
pub fn stacked(title: &str, unit: &str, bars: &[StackedBar<'_>]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let axis = ZeroAxis::holding(bars.iter().map(|bar| bar.user + bar.system));
    let mut text = format!(
        "<figure class=\"bars\"><figcaption>{} <span class=\"soft\">{}</span> \
         <span class=\"parts\"><span class=\"part user\"></span> user \
         <span class=\"part system\"></span> system</span></figcaption>\n",
        e(title),
        e(unit)
    );
    for bar in bars {
        let user = axis.percent(bar.user);
        let system = axis.percent(bar.user + bar.system) - user;
        text.push_str(&format!(
            "<div class=\"bar\"><span class=\"who\">{}</span>\
             <svg class=\"track\" width=\"100%\" height=\"24\" aria-hidden=\"true\">\
             <rect class=\"fill {1}\" x=\"0\" y=\"4\" height=\"16\" width=\"{user:.2}%\"/>\
             <rect class=\"fill faint {1}\" x=\"{user:.2}%\" y=\"4\" height=\"16\" width=\"{system:.2}%\"/></svg>\
             <span class=\"value\"><b>{2}</b> <span class=\"soft\">{3} + {4}</span></span></div>\n",
            e(bar.name),
            bar.paint.class(),
            fixed(bar.user + bar.system),
            fixed(bar.user),
            fixed(bar.system),
        ));
    }
    text.push_str("</figure>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;

    #[test]
    fn bars_are_well_formed_and_hold_their_reference() {
        let bar = RatioBar {
            name: "<b>",
            paint: Paint::of("ringgate", 0),
            ratio: 0.5,
            low: 0.4,
            high: 0.6,
        };
        let text = ratios("CPU", "nginx & co", &[bar]);
        assert_eq!(fault_in(&text), None);
        assert!(text.contains("1 = nginx &amp; co"), "{text}");
        // The axis reaches a little beyond 1, so that the line is within.
        assert!(text.contains("class=\"one\" x1=\"95.24%\""), "{text}");
        assert!(text.contains("<b>0.50</b>"), "{text}");
    }

    #[test]
    fn parts_are_behind_each_other() {
        let bar = StackedBar {
            name: "x",
            paint: Paint::of("x", 0),
            user: 5.0,
            system: 15.0,
        };
        let text = stacked("CPU", "us", &[bar]);
        assert_eq!(fault_in(&text), None);
        assert!(
            text.contains("width=\"23.81%\"") && text.contains("x=\"23.81%\""),
            "{text}"
        );
        assert!(text.contains("5.00 + 15.0"), "{text}");
    }

    #[test]
    fn no_bars_are_no_figure() {
        assert_eq!(ratios("t", "r", &[]), "");
        assert_eq!(stacked("t", "u", &[]), "");
        assert_eq!(interval(f64::NAN, 0.0, 0.0), "-");
    }
}
