//! `GET /metrics`: the figures, and what is as it is at the moment.

use crate::aggregate::privacy::Rho;
use crate::edge::Edge;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// What the answer is: Prometheus' text format.
pub(crate) const TEXT: &str = "text/plain; version=0.0.4";

/// What is as it is at the moment.
const GAUGES: [(&str, &str); 6] = [
    ("omega_sockets", "Sockets that are open"),
    ("omega_sockets_max", "Sockets that may be open"),
    ("omega_rooms", "Households in memory"),
    ("omega_rooms_max", "Households that may be in memory"),
    ("omega_exchange_bytes", "Bytes of one-shot sessions in memory"),
    ("omega_outbox_bytes", "Bytes that wait to be written to sockets"),
];
/// The same of what all households teach.
const AGGREGATE_GAUGES: [(&str, &str); 3] = [
    ("omega_patterns_budget_left_microrho", "Privacy budget of the year's patterns that is left"),
    ("omega_trends_budget_left_microrho", "Privacy budget of the year's trends that is left"),
    ("omega_not_private", "1: patterns or trends are, or were, released without noise"),
];

/// Nothing while the store does not work.
async fn aggregated(edge: &Edge) -> Vec<(&'static str, &'static str, usize)> {
    let (left, private) = (edge.aggregate.left().await, edge.aggregate.is_private().await);
    let (Ok([patterns, trends]), Ok(private)) = (left, private) else {
        return Vec::new();
    };
    let values = [micro_rho(patterns), micro_rho(trends), usize::from(!private)];
    let named = AGGREGATE_GAUGES.iter().zip(values);
    named.map(|(&(name, help), value)| (name, help, value)).collect()
}

fn micro_rho(rho: Rho) -> usize {
    usize::try_from(rho.trillionths() / 1_000_000).unwrap_or(usize::MAX)
}

/// `GET /metrics`.
pub(crate) async fn text(State(edge): State<Arc<Edge>>) -> Response {
    let free = edge.sockets.available_permits();
    let sockets = edge.limits.sockets_max.saturating_sub(free);
    let exchanges = edge.limits.exchanges_bytes_max;
    let exchanges = exchanges.saturating_sub(edge.exchanges.available_permits());
    let rooms = *edge.hub.live().borrow();
    let (sockets_max, rooms_max) = (edge.limits.sockets_max, edge.limits.rooms_max);
    let values = [sockets, sockets_max, rooms, rooms_max, exchanges, edge.outboxes.bytes()];
    let mut gauges: Vec<_> =
        GAUGES.iter().zip(values).map(|(&(name, help), value)| (name, help, value)).collect();
    gauges.extend(aggregated(&edge).await);
    ([(CONTENT_TYPE, TEXT)], edge.metrics.write(&gauges)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Count, Metrics, Timing};

    /// All that a server writes.
    fn page() -> String {
        let gauges = GAUGES.iter().chain(&AGGREGATE_GAUGES);
        let gauges: Vec<_> = gauges.map(|&(name, help)| (name, help, 0)).collect();
        Metrics::default().write(&gauges)
    }

    #[test]
    fn a_name_is_used_once() {
        let text = page();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut names: Vec<&str> = names.map(|line| line.split(' ').next().unwrap()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let gauges = GAUGES.len() + AGGREGATE_GAUGES.len();
        assert_eq!(count, Count::ALL.len() + Timing::ALL.len() + gauges + 5);
        let document = include_str!("../../../docs/operations.md");
        for name in names {
            assert!(document.contains(&format!("`{name}")), "{name} is not in docs/operations.md");
        }
    }

    /// The names in a dashboard's queries.
    fn queried(dashboard: &serde_json::Value, names: &mut Vec<String>) {
        match dashboard {
            serde_json::Value::Object(fields) => {
                let query = fields.get("expr").and_then(|query| query.as_str());
                let words = query
                    .unwrap_or_default()
                    .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                names.extend(words.filter(|word| word.starts_with("omega_")).map(Into::into));
                fields.values().for_each(|value| queried(value, names));
            }
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| queried(value, names));
            }
            _ => {}
        }
    }

    #[test]
    fn the_dashboard_asks_for_figures_that_there_are() {
        let dashboard = include_str!("../../../docs/dashboards/omega-edge.json");
        let mut names = Vec::new();
        queried(&serde_json::from_str(dashboard).unwrap(), &mut names);
        assert!(names.len() > 20, "{names:?}");
        let text = page();
        let known: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .chain(["omega_requests_total"])
            .collect();
        for name in &names {
            assert!(known.contains(&name.as_str()), "there is no figure {name}");
        }
        for (name, kind) in
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        {
            let asked = if kind == "histogram" { format!("{name}_bucket") } else { name.into() };
            assert!(names.contains(&asked), "{name} is on no panel");
        }
    }
}
