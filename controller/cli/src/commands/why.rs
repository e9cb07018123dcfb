//! `roost why`: a placement in words, then the numbers behind it.

use std::collections::BTreeSet;
use std::fmt::Write;

use roost_types::{Instance, Placement};

use super::instance::word;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Style, print};

/// Explains where an instance is, or why it waits.
pub async fn why(client: &Client, style: Style, name: &str) -> Result<(), CliError> {
    let path = format!("/v1/instances/{}", segment(name));
    let placement: Placement = client.get(&format!("{path}/placement")).await?;
    if style.format != crate::output::Format::Table {
        return print(&style.document(&placement)?);
    }
    let instance: Instance = client.get(&path).await?;
    print(&explain(style, instance.name.as_str(), instance.state.as_str(), &placement))
}

/// The explanation as text.
fn explain(style: Style, name: &str, state: &str, placement: &Placement) -> String {
    let mut text = match &placement.node {
        Some(node) => format!("{name} ({state}) was placed on {node} at {}.\n", placement.decided_at),
        None => format!("{name} ({state}) waits for a node; last tried at {}.\n", placement.decided_at),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", placement.message);
    let removed: Vec<String> =
        placement.filtered_by.iter().map(|(filter, n)| format!("{n} by {}", word(filter))).collect();
    let removed =
        if removed.is_empty() { "none filtered".to_owned() } else { format!("filtered: {}", removed.join(", ")) };
    let _ = writeln!(text, "{} nodes looked at; {removed}.", placement.evaluated);
    if !placement.candidates.is_empty() {
        let _ = write!(text, "\n{}", candidates(style, placement));
    }
    if !placement.filtered.is_empty() {
        let rows = placement.filtered.iter().map(|f| vec![f.node.to_string(), word(&f.filter), f.detail.clone()]);
        let _ = write!(text, "\n{}", style.table(&["NODE", "FILTER", "BECAUSE"], rows));
    }
    text
}

/// Candidates, best first, one column per score with its weight in the heading.
fn candidates(style: Style, placement: &Placement) -> String {
    let parts: BTreeSet<&String> = placement.candidates.iter().flat_map(|c| c.scores.keys()).collect();
    let weight = |part: &str| placement.candidates.iter().find_map(|c| c.scores.get(part)).map_or(0.0, |s| s.weight);
    let mut headings = vec!["NODE".to_owned(), "TOTAL".to_owned()];
    headings.extend(parts.iter().map(|part| format!("{}×{}", part.to_uppercase(), weight(part))));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows = placement.candidates.iter().map(|c| {
        let mark = if Some(&c.node) == placement.node.as_ref() { " *" } else { "" };
        let mut row = vec![format!("{}{mark}", c.node), format!("{:.3}", c.total)];
        row.extend(parts.iter().map(|part| c.scores.get(*part).map_or("-".to_owned(), |s| format!("{:.2}", s.value))));
        row
    });
    style.table(&headings, rows)
}

#[cfg(test)]
mod tests {
    use roost_types::placement::{FilteredNode, ScoredNode};
    use roost_types::{Filter, Score, Timestamp};

    use super::*;

    #[test]
    fn names_the_filter_the_temperature_and_its_age() {
        let placement = Placement {
            node: Some("n07".parse().unwrap()),
            decided_at: Timestamp(1_795_500_000_042),
            message: "n07 is the coolest node with room.".into(),
            evaluated: 2,
            filtered_by: [(Filter::Thermal, 1)].into(),
            candidates: vec![ScoredNode {
                node: "n07".parse().unwrap(),
                total: 0.75,
                scores: [("thermal".to_owned(), Score { value: 0.9, weight: 3.0 })].into(),
            }],
            filtered: vec![FilteredNode {
                node: "n01".parse().unwrap(),
                filter: Filter::Thermal,
                detail: "inlet 41.0 °C ≥ hot 35.0 °C in zone shelf-1, 1.2 s old".into(),
            }],
        };
        let text = explain(Style::default(), "web", "running", &placement);
        assert_eq!(
            text,
            "web (running) was placed on n07 at 2026-11-24T06:00:00.042Z.\n\
             n07 is the coolest node with room.\n\
             2 nodes looked at; filtered: 1 by thermal.\n\
             \n\
             NODE   TOTAL  THERMAL×3\n\
             n07 *  0.750  0.90\n\
             \n\
             NODE  FILTER   BECAUSE\n\
             n01   thermal  inlet 41.0 °C ≥ hot 35.0 °C in zone shelf-1, 1.2 s old\n"
        );
    }
}
