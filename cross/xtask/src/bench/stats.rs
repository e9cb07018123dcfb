//! Medians and the table they are shown in.

/// One line of the report.
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// Ours.
    pub ours: f64,
    /// Others in the same run: name and value.
    pub peers: Vec<(&'static str, f64)>,
    /// What is aimed at, in words.
    pub target: &'static str,
}

/// The middle value; none of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that `share` of all stay below.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// The figures as a Markdown table.
pub fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| figure | ours | peers (ours ÷ peer) | target |\n|---|---|---|---|\n");
    for figure in figures {
        let peers: Vec<String> = figure
            .peers
            .iter()
            .map(|(name, value)| format!("{name} {} (× {:.2})", shown(*value), figure.ours / value))
            .collect();
        let peers = if peers.is_empty() { "–".to_owned() } else { peers.join(", ") };
        text +=
            &format!("| {} | {} {} | {peers} | {} |\n", figure.what, shown(figure.ours), figure.unit, figure.target);
    }
    text
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_tail_are_found() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!((median(&values), quantile(&values, 0.99), quantile(&values, 0.0)), (3.0, 5.0, 1.0));
        assert!(median(&[]).is_nan());
    }
}
