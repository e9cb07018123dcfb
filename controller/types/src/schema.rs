//! OpenAPI schemas of the types that travel as one text though they have fields.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::cooling::HubOutput;
use crate::instance::Publish;
use crate::rack::{ProbeId, Slot};

macro_rules! text_schema {
    ($name:ident, $example:literal, $pattern:literal) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern)).examples([$example]).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}

text_schema!(Publish, "18080:80", "^([0-9.]+:)?[0-9]{1,5}:[0-9]{1,5}(/(tcp|udp))?$");
text_schema!(Slot, "r1/2/6", "^[a-z][a-z0-9-]*/[0-9]+/[0-9]+$");
text_schema!(ProbeId, "hub0:1", "^[a-z][a-z0-9-]*:[0-9]+$");
text_schema!(HubOutput, "hub0:1", "^[a-z][a-z0-9-]*:[0-9]+$");
