//! `/v1/events`: a page, or a live stream (server-sent events).
//!
//! A listener that reads too slowly is cut off and comes back with `Last-Event-ID`; it misses nothing that is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use roost_types::{Event, EventId, Page, Problem};
use serde::Deserialize;
use tokio::sync::{broadcast, watch};

use super::extract::Query;
use super::paging::{ListQuery, item, page};
use super::problem::ApiResult;
use crate::state::App;

/// A silent stream says something so often, so that a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events read from the snapshot at a time while catching up.
const REPLAY: usize = 500;

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events with a larger number.
    pub after: Option<EventId>,
    /// Events of the page, 1 to 1000; 100 when absent.
    pub limit: Option<usize>,
    /// The same as `after`: `next_cursor` of the page before.
    pub cursor: Option<EventId>,
}

/// Events, oldest first. With `Accept: text/event-stream` a live stream: events as they happen (`id`: number, `event`:
/// kind, `data`: the event), and `event: rack` with the whole rack at most once a second.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Replay what came after this event")),
    responses((status = 200, content((Page<Event> = "application/json"), (String = "text/event-stream"))),
        (status = 400, body = Problem)))]
pub async fn events(
    State(app): State<Arc<App>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let after: Option<EventId> = last.or(query.after).or(query.cursor);
    if wants_stream(&headers) {
        return Ok(live(&app, after));
    }
    let limit = ListQuery { limit: query.limit, ..ListQuery::default() }.limit()?;
    let snapshot = app.core.snapshot();
    let found = snapshot.events_after(after.unwrap_or(0), limit + 1);
    Ok(page(found.iter().map(|event| (event.id, item(event.as_ref()))), limit))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim().starts_with("text/event-stream"))
}

fn live(app: &Arc<App>, after: Option<EventId>) -> Response {
    // Subscribed before the snapshot is read: nothing falls between replay and live events.
    let events = app.core.events();
    let seen = after.unwrap_or_else(|| app.core.snapshot().last_event());
    let mut rack = app.rack.subscribe();
    rack.mark_changed();
    let listener = Listener { app: Arc::clone(app), events, rack, seen, replay: VecDeque::new(), caught_up: false };
    let mut response = Sse::new(listener.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

/// One reader of the live stream.
struct Listener {
    app: Arc<App>,
    events: broadcast::Receiver<Arc<Event>>,
    rack: watch::Receiver<Bytes>,
    /// Number of the last event sent.
    seen: EventId,
    /// Events still to be sent again.
    replay: VecDeque<Arc<Event>>,
    /// Replay is over.
    caught_up: bool,
}

impl Listener {
    fn stream(self) -> impl Stream<Item = Result<sse::Event, std::convert::Infallible>> {
        futures_util::stream::unfold(self, |mut listener| async move {
            let next = listener.next().await?;
            Some((Ok(next), listener))
        })
    }

    /// The next thing to send; `None` cuts the listener off.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.replayed() {
                return Some(event);
            }
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Ok(event) if event.id > self.seen => return Some(self.written(&event)),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => return None,
                },
                changed = self.rack.changed() => {
                    changed.ok()?;
                    let view = self.rack.borrow_and_update().clone();
                    if let Ok(text) = std::str::from_utf8(&view)
                        && !text.is_empty()
                    {
                        return Some(sse::Event::default().event("rack").data(text));
                    }
                }
            }
        }
    }

    fn replayed(&mut self) -> Option<sse::Event> {
        if !self.caught_up && self.replay.is_empty() {
            self.replay = self.app.core.snapshot().events_after(self.seen, REPLAY).into();
            self.caught_up = self.replay.is_empty();
        }
        let event = self.replay.pop_front()?;
        Some(self.written(&event))
    }

    fn written(&mut self, event: &Event) -> sse::Event {
        self.seen = event.id;
        let kind = serde_json::to_value(event.kind).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("message").to_owned();
        let data = String::from_utf8(item(event).to_vec()).unwrap_or_default();
        sse::Event::default().id(event.id.to_string()).event(kind).data(data)
    }
}
