//! `roost logs`.

use std::io::Write;

use futures_util::StreamExt;
use reqwest::Method;

use crate::client::{Client, segment};
use crate::error::CliError;

/// Copies an instance's output to standard output, byte for byte.
pub async fn logs(client: &Client, instance: &str, follow: bool, tail: Option<u32>) -> Result<(), CliError> {
    let tail = tail.map(|n| format!("&tail={n}")).unwrap_or_default();
    let path = format!("/v1/instances/{}/logs?follow={follow}{tail}", segment(instance));
    let response = client.send(client.request(Method::GET, &path)).await?;
    let mut chunks = response.bytes_stream();
    let mut out = std::io::stdout().lock();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| client.unreachable(&e))?;
        match out.write_all(&chunk).and_then(|()| out.flush()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}
