//! `roost event`, and the reader of the event stream.

use futures_util::StreamExt;
use reqwest::Method;
use roost_types::Event;

use super::instance::word;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Columns, Format, Style, print};

/// Shows events, and with `follow` those that come.
pub async fn events(client: &Client, style: Style, follow: bool, after: Option<u64>) -> Result<(), CliError> {
    if follow {
        return watch(client, style, after).await;
    }
    let path = after.map_or_else(|| "/v1/events".to_owned(), |id| format!("/v1/events?after={id}"));
    let events: Vec<Event> = client.list(&path).await?;
    print(&style.list(&events, &Columns { headings: &HEADINGS, row: &row, name: &|e| e.id.to_string() })?)
}

const HEADINGS: [&str; 5] = ["ID", "AT", "KIND", "SUBJECT", "MESSAGE"];

fn row(event: &Event) -> Vec<String> {
    vec![event.id.to_string(), event.at.to_string(), word(&event.kind), event.subject.clone(), event.message.clone()]
}

async fn watch(client: &Client, style: Style, after: Option<u64>) -> Result<(), CliError> {
    let path = after.map_or_else(|| "/v1/events".to_owned(), |id| format!("/v1/events?after={id}"));
    let request = client.request(Method::GET, &path).header("Accept", "text/event-stream");
    let mut chunks = client.send(request).await?.bytes_stream();
    let mut parser = SseParser::default();
    while let Some(chunk) = chunks.next().await {
        for message in parser.push(&chunk.map_err(|e| client.unreachable(&e))?) {
            if let Ok(event) = serde_json::from_str::<Event>(&message.data) {
                print(&line(style, &event)?)?;
            }
        }
    }
    Err(CliError::Failed("the controller closed the event stream".into()))
}

fn line(style: Style, event: &Event) -> Result<String, CliError> {
    Ok(match style.format {
        _ if style.quiet => format!("{}\n", event.id),
        Format::Table => row(event).join("  ") + "\n",
        Format::Json => serde_json::to_string(event).map_err(|e| CliError::step("writing JSON", e))? + "\n",
        Format::Yaml => format!("---\n{}", style.document(event)?),
    })
}

/// One message of a server-sent event stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SseMessage {
    /// Its kind; empty when it has none.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// Cuts a byte stream into server-sent events.
#[derive(Debug, Default)]
pub struct SseParser {
    rest: Vec<u8>,
    message: SseMessage,
}

impl SseParser {
    /// Takes more bytes and gives the messages they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<SseMessage> {
        self.rest.extend_from_slice(bytes);
        let mut complete = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let message = std::mem::take(&mut self.message);
                if !message.data.is_empty() {
                    complete.push(message);
                }
            } else {
                self.field(line);
            }
        }
        complete
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let text = b": hello\n\nid: 7\nevent: node-ready\ndata: {\"a\":\ndata: 1}\n\nevent: rack\r\ndata: {}\r\n\r\ndata: half";
        let expected = [
            SseMessage { event: "node-ready".into(), data: "{\"a\":\n1}".into() },
            SseMessage { event: "rack".into(), data: "{}".into() },
        ];
        for size in 1..text.len() {
            let mut parser = SseParser::default();
            let found: Vec<_> = text.chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            assert_eq!(found, expected, "cut every {size} bytes");
        }
    }
}
