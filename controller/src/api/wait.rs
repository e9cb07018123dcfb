//! `Prefer: wait=N`: hold the answer to slow work until it is settled, for at most N seconds.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use roost_types::{Code, Operation, OperationId, OperationStatus, Problem};
use tokio::time::{Instant, timeout_at};

use super::problem::{ApiError, ApiResult, json};
use crate::core::Core;

/// The longest wait in seconds.
pub const MAX_WAIT: u64 = 60;

/// What `Prefer` asks for.
pub fn preferred(headers: &HeaderMap) -> ApiResult<Option<Duration>> {
    let Some(value) = headers.get("prefer").and_then(|value| value.to_str().ok()) else { return Ok(None) };
    let Some(seconds) = value.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait=")) else {
        return Ok(None);
    };
    match seconds.parse::<u64>() {
        Ok(seconds) if seconds <= MAX_WAIT => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(ApiError(
            Problem::new(Code::InvalidField, format!("Prefer: wait={seconds} is not 0 to {MAX_WAIT} seconds"))
                .field("prefer"),
        )),
    }
}

/// Waits until an operation is final or the time is over; returns it as it is then.
pub async fn settled(core: &Core, id: OperationId, wait: Duration) -> ApiResult<Arc<Operation>> {
    let deadline = Instant::now() + wait;
    let listener = core.listen_operation(id);
    loop {
        let news = listener.notified();
        let operation =
            core.snapshot().operation(id).ok_or_else(|| ApiError::not_found("operation", &id.to_string()))?;
        if operation.status.is_final() || Instant::now() >= deadline {
            return Ok(operation);
        }
        // Woken or not, the loop looks again.
        let _ = timeout_at(deadline, news).await;
    }
}

/// Answers slow work: with `resource` when the operation succeeded in time, with its problem when it failed, else with
/// 202 and the operation.
pub async fn answer(
    core: &Core,
    id: OperationId,
    wait: Option<Duration>,
    resource: impl FnOnce() -> ApiResult<Response>,
) -> ApiResult<Response> {
    let operation = settled(core, id, wait.unwrap_or_default()).await?;
    let mut response = match (wait, operation.status) {
        (Some(_), OperationStatus::Succeeded) => resource()?,
        (Some(_), OperationStatus::Failed) => {
            let unknown = || Problem::new(Code::Conflict, "the operation failed");
            return Err(ApiError(operation.error.clone().unwrap_or_else(unknown)));
        }
        (Some(_), OperationStatus::Pending | OperationStatus::Running | OperationStatus::Cancelled) | (None, _) => {
            json(StatusCode::ACCEPTED, operation.as_ref())?
        }
    };
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/operations/{id}")) {
        let name = if response.status() == StatusCode::ACCEPTED { header::LOCATION } else { OPERATION };
        response.headers_mut().insert(name, location);
    }
    Ok(response)
}

/// Where the receipt of an answer that came in time is.
const OPERATION: header::HeaderName = header::HeaderName::from_static("roost-operation");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_up_to_the_limit_are_a_wait() {
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(text));
            preferred(&headers)
        };
        assert_eq!(asked("wait=30").unwrap(), Some(Duration::from_secs(30)));
        assert_eq!(asked("respond-async, wait=5").unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(asked("return=minimal").unwrap(), None);
        for bad in ["wait=61", "wait=-1", "wait=x"] {
            assert_eq!(asked(bad).unwrap_err().0.field.as_deref(), Some("prefer"), "{bad}");
        }
    }
}
