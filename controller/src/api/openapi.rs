//! The OpenAPI document, made from the code.

use utoipa::openapi::OpenApi as OpenApiDocument;
use utoipa::openapi::path::PathItem;
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
    for item in document.paths.paths.values_mut() {
        name_operations(item);
    }
    document
}

/// Handlers are called `list` or `show` in every file; in the document each needs a name of its own.
fn name_operations(item: &mut PathItem) {
    let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
    for operation in operations.into_iter().flatten() {
        let tag = operation.tags.iter().flatten().next();
        if let (Some(tag), Some(name)) = (tag, &operation.operation_id) {
            operation.operation_id = Some(format!("{tag}_{name}"));
        }
    }
}
