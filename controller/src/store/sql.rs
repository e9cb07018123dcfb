//! Every SQL statement of the store.

use std::fmt::Write;
use std::path::Path;

use roost_model::Kind;

/// WAL with `synchronous = FULL`: what was acknowledged survives a power cut.
pub(super) const PRAGMAS: &[&str] = &[
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",
];

/// Removes events up to a number.
pub(super) const SWEEP_EVENTS: &str = "DELETE FROM events WHERE id <= $1";

/// Most rows of one statement: a power of two, so that few different statements are prepared.
const MAX_CHUNK: usize = 32;

/// The table of a kind.
pub(super) const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Meta => "meta",
        Kind::Image => "images",
        Kind::Node => "nodes",
        Kind::Instance => "instances",
        Kind::FirstBoot => "first_boots",
        Kind::Allocation => "allocations",
        Kind::Operation => "operations",
        Kind::Alert => "alerts",
        Kind::Notice => "notices",
        Kind::Event => "events",
    }
}

/// Reads every body of a kind in the order of keys.
pub(super) const fn select(kind: Kind) -> &'static str {
    match kind {
        Kind::Meta => "SELECT body FROM meta ORDER BY id",
        Kind::Image => "SELECT body FROM images ORDER BY id",
        Kind::Node => "SELECT body FROM nodes ORDER BY id",
        Kind::Instance => "SELECT body FROM instances ORDER BY id",
        Kind::FirstBoot => "SELECT body FROM first_boots ORDER BY id",
        Kind::Allocation => "SELECT body FROM allocations ORDER BY id",
        Kind::Operation => "SELECT body FROM operations ORDER BY id",
        Kind::Alert => "SELECT body FROM alerts ORDER BY id",
        Kind::Notice => "SELECT body FROM notices ORDER BY id",
        Kind::Event => "SELECT body FROM events ORDER BY id",
    }
}

/// Removes one row.
pub(super) const fn delete(kind: Kind) -> &'static str {
    match kind {
        Kind::Meta => "DELETE FROM meta WHERE id = $1",
        Kind::Image => "DELETE FROM images WHERE id = $1",
        Kind::Node => "DELETE FROM nodes WHERE id = $1",
        Kind::Instance => "DELETE FROM instances WHERE id = $1",
        Kind::FirstBoot => "DELETE FROM first_boots WHERE id = $1",
        Kind::Allocation => "DELETE FROM allocations WHERE id = $1",
        Kind::Operation => "DELETE FROM operations WHERE id = $1",
        Kind::Alert => "DELETE FROM alerts WHERE id = $1",
        Kind::Notice => "DELETE FROM notices WHERE id = $1",
        Kind::Event => "DELETE FROM events WHERE id = $1",
    }
}

/// Stores `rows` rows in place of those with the same keys. Holds table names and numbers only, never data.
pub(super) fn upsert(kind: Kind, rows: usize) -> String {
    let mut text = format!("INSERT INTO {} (id, body, updated_at) VALUES ", table(kind));
    for row in 0..rows {
        let first = row * 3 + 1;
        let comma = if row == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}(${first}, ${}, ${})", first + 1, first + 2);
    }
    text.push_str(" ON CONFLICT (id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at");
    text
}

/// Cuts a list into pieces whose lengths are powers of two.
pub(super) fn chunks<T>(rows: &[T]) -> Vec<&[T]> {
    let (mut rest, mut pieces) = (rows, Vec::new());
    while !rest.is_empty() {
        let mut size = MAX_CHUNK;
        while size > rest.len() {
            size /= 2;
        }
        let (piece, after) = rest.split_at(size);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The address of a database file, with what a URL path may not hold escaped.
pub(super) fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => url.push(char::from(*byte)),
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url.push_str("?mode=rwc");
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_lose_nothing() {
        let rows: Vec<u32> = (0..77).collect();
        let pieces = chunks(&rows);
        assert_eq!(pieces.iter().map(|p| p.len()).collect::<Vec<_>>(), [32, 32, 8, 4, 1]);
        assert_eq!(pieces.concat(), rows);
        assert!(chunks::<u32>(&[]).is_empty());
    }

    #[test]
    fn a_statement_numbers_its_parameters_through() {
        let text = upsert(Kind::Image, 2);
        assert!(text.contains("VALUES ($1, $2, $3), ($4, $5, $6) ON CONFLICT"), "{text}");
    }

    #[test]
    fn a_path_with_odd_characters_stays_one_path() {
        assert_eq!(sqlite_url(Path::new("/a b/c?d#e%")), "sqlite:///a%20b/c%3Fd%23e%25?mode=rwc");
    }
}
