//! The REST API as a client sees it, one request after the other.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use roost_types::{Arch, Event, Instance, InstanceState, Node, Page};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::until;

/// A client of one controller.
#[derive(Debug)]
pub struct Api {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    url: String,
    token: String,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type, empty when there is none.
    pub content_type: String,
    /// `Location`, empty when there is none.
    pub location: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

impl Api {
    /// A client for the controller at `url`.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(url: &str, token: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // No connection is kept: one to a controller that was killed since would be found out too late.
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).pool_max_idle_per_host(0).no_proxy();
        let client = client.build()?;
        Ok(Self { runtime, client, url: url.to_owned(), token: token.to_owned() })
    }

    /// Sends a request with a body as it is.
    ///
    /// # Errors
    /// No response arrives.
    pub fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        self.answer(request).with_context(|| format!("{method} {path}"))
    }

    /// Sends a request with these headers and no other: no token and no content type come by themselves.
    ///
    /// # Errors
    /// No response arrives.
    pub fn send_bare(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        self.answer(request).with_context(|| format!("{method} {path}"))
    }

    /// Where the controller is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of `Authorization` that lets this client in.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Sends JSON with a wish to wait up to `seconds` for what it asks for.
    ///
    /// # Errors
    /// No response arrives.
    pub fn post_and_wait(&self, path: &str, body: &Value, seconds: u32) -> Result<Answer> {
        let (token, wait) = (self.authorization(), format!("wait={seconds}"));
        let headers = [("authorization", token.as_str()), ("content-type", "application/json"), ("prefer", &wait)];
        self.send_bare(Method::POST, path, &headers, Some(body.to_string()))
    }

    /// Sends a GET request with no credential.
    ///
    /// # Errors
    /// No response arrives.
    pub fn anonymous(&self, path: &str) -> Result<Answer> {
        self.answer(self.client.get(format!("{}{path}", self.url)))
    }

    /// A GET request to any address of this machine.
    ///
    /// # Errors
    /// No response arrives.
    pub fn fetch(&self, url: &str) -> Result<Answer> {
        self.answer(self.client.get(url).timeout(Duration::from_secs(5)))
    }

    fn answer(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        self.runtime.block_on(async {
            let response = request.send().await?;
            let header = |name: &str| {
                response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
            };
            let (content_type, location) = (header("content-type"), header("location"));
            Ok(Answer { status: response.status().as_u16(), content_type, location, body: response.text().await? })
        })
    }

    /// Stores the root file of one of Roost's recipes under the recipe's name.
    ///
    /// # Errors
    /// It is refused.
    pub fn store_image(&self, name: &str, root_file: &Path) -> Result<()> {
        let bytes = fs::read(root_file).with_context(|| format!("read {}", root_file.display()))?;
        let path = format!("/v1/images?alias={name}&arch={}&format=erofs&init=/sbin/init", Arch::native());
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = self.answer(request.header("content-type", "application/octet-stream").body(bytes))?;
        ensure!((200..300).contains(&answer.status), "POST {path}: {} {}", answer.status, answer.body);
        Ok(())
    }

    /// Gets something that must be there.
    ///
    /// # Errors
    /// It is not, or it is not what it should be.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.send(Method::GET, path, None)?;
        ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).with_context(|| format!("GET {path}: {}", answer.body))
    }

    /// Sends JSON that must be accepted.
    ///
    /// # Errors
    /// It is refused.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let answer = self.send(Method::POST, path, Some(body.to_string()))?;
        ensure!((200..300).contains(&answer.status), "POST {path}: {} {}", answer.status, answer.body);
        Ok(answer)
    }

    /// Deletes something, which must be accepted.
    ///
    /// # Errors
    /// It is refused.
    pub fn delete(&self, path: &str) -> Result<()> {
        let answer = self.send(Method::DELETE, path, None)?;
        ensure!((200..300).contains(&answer.status), "DELETE {path}: {} {}", answer.status, answer.body);
        Ok(())
    }

    /// Every item of a list.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        Ok(self.get::<Page<T>>(&format!("{path}{joint}limit=1000"))?.items)
    }

    /// An instance by name.
    ///
    /// # Errors
    /// There is none.
    pub fn instance(&self, name: &str) -> Result<Instance> {
        self.get(&format!("/v1/instances/{name}"))
    }

    /// A node by name.
    ///
    /// # Errors
    /// There is none.
    pub fn node(&self, name: &str) -> Result<Node> {
        self.get(&format!("/v1/nodes/{name}"))
    }

    /// Waits until an instance is in a state.
    ///
    /// # Errors
    /// It does not get there.
    pub fn wait_for(&self, name: &str, state: InstanceState) -> Result<Instance> {
        let mut last = None;
        until(&format!("{name} is {state}"), || {
            let instance = self.instance(name)?;
            let there = instance.state == state;
            last = Some(format!("{}: {}", instance.state, instance.state_reason));
            Ok(there.then_some(instance))
        })
        .with_context(|| format!("{name} is {}", last.unwrap_or_default()))
    }

    /// What happened after the event numbered `after`, oldest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn events_after(&self, after: u64) -> Result<Vec<Event>> {
        self.list(&format!("/v1/events?after={after}"))
    }

    /// Number of the newest event.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn newest_event(&self) -> Result<u64> {
        let mut newest = 0;
        loop {
            match self.events_after(newest)?.last() {
                Some(event) => newest = event.id,
                None => return Ok(newest),
            }
        }
    }
}
