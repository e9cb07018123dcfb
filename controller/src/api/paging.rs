//! Lists: `?limit=&cursor=&filter=field=value`, answered with pages stitched from the objects' cached bytes.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use roost_types::Code;
use roost_types::page::{DEFAULT_LIMIT, MAX_LIMIT};
use serde::Deserialize;

use super::problem::{ApiError, ApiResult, json_bytes};

/// The query of every list.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Items of the page, 1 to 1000; 100 when absent.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// `FIELD=VALUE`: only items with that value.
    pub filter: Option<String>,
}

impl ListQuery {
    /// Items of the page.
    pub fn limit(&self) -> ApiResult<usize> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Some(limit) => Err(invalid("limit", format!("limit {limit} is not 1 to {MAX_LIMIT}"))),
        }
    }

    /// The key after which the page begins.
    pub fn after<K: std::str::FromStr>(&self) -> ApiResult<Option<K>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        cursor.parse().map(Some).map_err(|_| invalid("cursor", format!("'{cursor}' is not a cursor of this list")))
    }

    /// The filter's field, one of `known`, and value.
    pub fn filter<'q>(&'q self, known: &[&str]) -> ApiResult<Option<(&'q str, &'q str)>> {
        let Some(text) = &self.filter else { return Ok(None) };
        let found = text.split_once('=').filter(|(field, _)| known.contains(field));
        found.map(Some).ok_or_else(|| {
            invalid("filter", format!("'{text}' is not FIELD=VALUE with a field of: {}", known.join(", ")))
        })
    }

    /// Every condition of a filter of several, `FIELD=VALUE,FIELD=VALUE`.
    pub fn filters<'q>(&'q self, known: &[&str]) -> ApiResult<Vec<(&'q str, &'q str)>> {
        let conditions = self.filter.iter().flat_map(|text| text.split(','));
        conditions
            .map(|text| {
                let found = text.split_once('=').filter(|(field, _)| known.contains(field));
                found.ok_or_else(|| {
                    let known = known.join(", ");
                    invalid("filter", format!("'{text}' is not FIELD=VALUE with a field of: {known}"))
                })
            })
            .collect()
    }

    /// Refuses a filter where a list has none.
    pub fn unfiltered(&self) -> ApiResult<()> {
        match &self.filter {
            None => Ok(()),
            Some(_) => Err(invalid("filter", "this list has no filters".to_owned())),
        }
    }
}

/// The problem with a parameter.
pub fn invalid(parameter: &str, detail: String) -> ApiError {
    ApiError(roost_types::Problem::new(Code::InvalidQuery, detail).field(parameter))
}

/// The first `limit` of the items as a page; the cursor is the key of the last.
pub fn page<K: ToString>(items: impl Iterator<Item = (K, Bytes)>, limit: usize) -> Response {
    let (mut body, mut last, mut more) = (Vec::with_capacity(64 * 1024), None, false);
    body.extend_from_slice(b"{\"items\":[");
    for (number, (key, bytes)) in items.enumerate() {
        if number == limit {
            more = true;
            break;
        }
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&bytes);
        last = Some(key);
    }
    body.extend_from_slice(b"],\"next_cursor\":");
    match last.filter(|_| more) {
        Some(key) => body.extend_from_slice(format!("\"{}\"}}", key.to_string()).as_bytes()),
        None => body.extend_from_slice(b"null}"),
    }
    json_bytes(StatusCode::OK, Body::from(body))
}

/// The JSON of an item that has no cached bytes.
pub fn item<T: serde::Serialize>(value: &T) -> Bytes {
    // Our own types always become JSON: keys are text and numbers are finite.
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn items(count: u32) -> impl Iterator<Item = (u32, Bytes)> {
        (1..=count).map(|n| (n, item(&n)))
    }

    #[tokio::test]
    async fn a_page_names_the_next_only_when_there_is_one() {
        assert_eq!(text(page(items(0), 2)).await, r#"{"items":[],"next_cursor":null}"#);
        assert_eq!(text(page(items(2), 2)).await, r#"{"items":[1,2],"next_cursor":null}"#);
        assert_eq!(text(page(items(3), 2)).await, r#"{"items":[1,2],"next_cursor":"2"}"#);
    }

    #[test]
    fn bad_list_queries_name_their_parameter() {
        let query = |limit, cursor: Option<&str>, filter: Option<&str>| ListQuery {
            limit,
            cursor: cursor.map(str::to_owned),
            filter: filter.map(str::to_owned),
        };
        let field = |error: ApiError| error.0.field.unwrap();
        assert_eq!(field(query(Some(0), None, None).limit().unwrap_err()), "limit");
        assert_eq!(field(query(Some(1001), None, None).limit().unwrap_err()), "limit");
        assert_eq!(field(query(None, Some("x"), None).after::<u64>().unwrap_err()), "cursor");
        for filter in ["state", "colour=red"] {
            assert_eq!(field(query(None, None, Some(filter)).filter(&["state"]).unwrap_err()), "filter");
        }
        for filter in ["state=a,", "state=a,colour=red", ","] {
            assert_eq!(field(query(None, None, Some(filter)).filters(&["state"]).unwrap_err()), "filter");
        }
        let both = query(None, None, Some("state=a,kind=b"));
        assert_eq!(both.filters(&["state", "kind"]).unwrap(), [("state", "a"), ("kind", "b")]);
        assert_eq!(query(None, None, Some("state=a=b")).filter(&["state"]).unwrap(), Some(("state", "a=b")));
    }
}
