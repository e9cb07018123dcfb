//! Listening: our own accept loop, so that a slow or silent client is cut off.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a client may take to send a request's header; also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once: 5,000 agents with two each, and people.
const MAX_CONNECTIONS: usize = 16_384;
/// How long open connections may take to end when the controller stops.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause after a failed accept (usually: too many open files) or bind.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens on an address. One that is not there yet (the rack's bridge comes up later) is tried again until it is.
///
/// # Errors
/// Any error other than "address not available".
pub async fn bind(address: SocketAddr, mut stop: watch::Receiver<bool>) -> io::Result<Option<TcpListener>> {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                if !told {
                    told = true;
                    tracing::info!(%address, "the address is not there yet; trying again until it is");
                }
            }
            other => return other.map(Some),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = told_to(&mut stop) => return Ok(None),
        }
    }
}

/// Ends when told to stop, or when nobody is left who could tell.
async fn told_to(stop: &mut watch::Receiver<bool>) {
    // Either outcome means: stop.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves until told to stop, then lets open connections end.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told_to(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_one(stream, router.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::info!("some connections were still open and are cut");
    }
}

async fn serve_one(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Small answers must not wait for more; a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
