//! The dashboard is served, by itself and to nobody else's pages.

use reqwest::Method;

use crate::rig::Controller;

#[tokio::test]
async fn the_dashboard_is_served_with_a_policy_and_an_etag() {
    let controller = Controller::start();
    let response = controller.anonymous(Method::GET, "/").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.contains("<html"), "{text}");
    for outside in ["http://", "https://", "//cdn"] {
        assert!(!text.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside}");
    }
    let again = controller.anonymous(Method::GET, "/").header("if-none-match", &headers["etag"]).send().await.unwrap();
    assert_eq!(again.status(), 304);
    for outside in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/nothing.js"] {
        let response = controller.anonymous(Method::GET, outside).send().await.unwrap();
        assert_eq!(response.status(), 404, "{outside}");
    }
}
