//! Finds what somebody probably meant to write.

/// The candidate nearest to `written`, if one is near enough to be worth proposing.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = fold(written);
    let reach = (written.len() / 3)
        .max(1)
        .min(written.len().saturating_sub(1));
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let folded = fold(candidate);
        let distance = if folded == written {
            0
        } else if folded.len().abs_diff(written.len()) > reach {
            // One inside the other, such as `timeout` for `response_timeout`.
            let (short, long) = match written.len() < folded.len() {
                true => (&written, &folded),
                false => (&folded, &written),
            };
            if short.len() < 3 || 5 * short.len() < 2 * long.len() || !long.contains(&**short) {
                continue;
            }
            reach
        } else {
            strsim::osa_distance(&written, &folded)
        };
        if distance <= reach && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn fold(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn proposes_typos_case_and_dashes() {
        let keys = ["listen", "limits", "half_close", "name", "response_timeout"];
        assert_eq!(nearest("listn", keys), Some("listen"));
        assert_eq!(nearest("Listen", keys), Some("listen"));
        assert_eq!(nearest("half-close", keys), Some("half_close"));
        assert_eq!(nearest("limist", keys), Some("limits"));
        assert_eq!(nearest("timeout", keys), Some("response_timeout"));
    }

    #[test]
    fn proposes_nothing_far_away() {
        assert_eq!(nearest("certificate", ["name", "listen"]), None);
        assert_eq!(nearest("x", ["name", "listen"]), None);
        assert_eq!(nearest("", ["name", "listen"]), None);
    }
}
