//! Errors on the wire: RFC 9457 problem details with a stable `code` and, for bad input, the field at fault.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// The stable name of a kind of error. Clients may match on it; it is never renamed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// The code as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $text),* } }
            /// The HTTP status it is sent with.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status),* } }
            /// A short summary, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title),* } }
        }
    };
}

codes! {
    /// The body is not JSON.
    MalformedJson = "malformed_json", 400, "The body is not valid JSON";
    /// A field this API does not know.
    UnknownField = "unknown_field", 400, "The body has a field this API does not know";
    /// A field has a value that cannot be used.
    InvalidField = "invalid_field", 400, "A field has a value that cannot be used";
    /// A required field is not there.
    MissingField = "missing_field", 400, "A required field is missing";
    /// A query parameter cannot be used.
    InvalidQuery = "invalid_query", 400, "A query parameter cannot be used";
    /// The body is not a whole tar archive, or one that cannot be unpacked here.
    MalformedArchive = "malformed_archive", 400, "The archive cannot be unpacked";
    /// The name does not fit the rule for names.
    InvalidName = "invalid_name", 400, "The name cannot be used";
    /// No or a wrong token.
    Unauthorized = "unauthorized", 401, "A valid token is needed";
    /// The caller may not do this.
    Forbidden = "forbidden", 403, "Not allowed";
    /// There is no such thing, or the caller may not know of it.
    NotFound = "not_found", 404, "Not found";
    /// The image is not in the store.
    UnknownImage = "unknown_image", 404, "No such image";
    /// The method does not fit the path.
    MethodNotAllowed = "method_not_allowed", 405, "This path does not take that method";
    /// The name is in use.
    NameTaken = "name_taken", 409, "The name is in use";
    /// A published port is in use on every node that could run it.
    PortTaken = "port_taken", 409, "The port is in use";
    /// Every node that could run it has given out all addresses of its instance network.
    NoAddress = "no_address", 409, "No address is free";
    /// The state of the object does not allow it.
    Conflict = "conflict", 409, "The present state does not allow this";
    /// The instance does not run.
    NotRunning = "not_running", 409, "The instance does not run";
    /// The idempotency key was used with another body.
    IdempotencyMismatch = "idempotency_mismatch", 409, "The idempotency key was used for another request";
    /// The object changed since the caller read it.
    PreconditionFailed = "precondition_failed", 412, "The object has changed";
    /// The request must say how long its body is.
    LengthRequired = "length_required", 411, "The length of the body must be known";
    /// The body is over its limit.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// The body is not JSON by its content type.
    UnsupportedMediaType = "unsupported_media_type", 415, "The content type is not supported";
    /// The instance could not be brought to the wished state.
    InstanceFailed = "instance_failed", 409, "The instance failed";
    /// A snapshot could not be made or restored.
    SnapshotFailed = "snapshot_failed", 409, "The snapshot failed";
    /// An archive, or what was found at a source, is not an image that can be used.
    InvalidImage = "invalid_image", 422, "The image cannot be used";
    /// No node could ever hold it.
    TooLarge = "too_large", 422, "No node is large enough";
    /// Too many requests.
    RateLimited = "rate_limited", 429, "Too many requests";
    /// Something failed inside the controller.
    Internal = "internal", 500, "Something failed inside the controller";
    /// A part that is needed is not there right now.
    Unavailable = "unavailable", 503, "Not available right now";
    /// A node's power was switched and nothing confirms it.
    PowerUnknown = "power_unknown", 503, "Nobody knows whether the node has power";
    /// The node does not answer.
    NodeUnreachable = "node_unreachable", 503, "The node does not answer";
    /// The store has no room.
    StoreFull = "store_full", 507, "The store has no room";
    /// The instance's disk has no room.
    DiskFull = "disk_full", 507, "The instance's disk has no room";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as a client sees it, `application/problem+json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary of the kind of error.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable kind of error.
    pub code: Code,
    /// What is wrong here and what to do about it.
    pub detail: String,
    /// The field at fault, as a dotted path, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem of this kind with an explanation that says what to do.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            field: None,
        }
    }

    /// The same problem, blaming a field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} ({}, field '{field}')", self.detail, self.code),
            None => write!(f, "{} ({})", self.detail, self.code),
        }
    }
}

impl std::error::Error for Problem {}
