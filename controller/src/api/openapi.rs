//! The OpenAPI document, made from the code.

use utoipa::openapi::OpenApi as OpenApiDocument;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::auth::SESSION_COOKIE;
use super::router;

/// What no route says by itself.
#[derive(OpenApi)]
#[openapi(
    info(title = "Roost", description = "A container cloud on a rack of ARM boards."),
    modifiers(&Security),
    components(schemas(roost_types::Problem, roost_types::Event)),
    security(("token" = []), ("session" = []))
)]
pub(super) struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApiDocument) {
        let components = document.components.get_or_insert_with(Default::default);
        let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE)));
        components.add_security_scheme("token", token);
        components.add_security_scheme("session", session);
    }
}

/// The document of every public route.
#[must_use]
pub fn document() -> OpenApiDocument {
    let (_, mut document) = router::for_users().split_for_parts();
    let (_, anyone) = router::for_anyone().split_for_parts();
    document.merge(anyone);
    document
}
