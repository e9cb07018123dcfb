//! The OpenAPI document: committed, generated from the code, and complete.

use std::path::PathBuf;

use reqwest::Method;

use crate::rig::Controller;

fn committed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json")
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let generated = roost_controller::document().to_pretty_json().unwrap();
    let committed = std::fs::read_to_string(committed()).unwrap();
    assert!(
        generated.trim() == committed.trim(),
        "write it anew: roost-controller openapi > docs/reference/openapi.json"
    );
}

#[tokio::test]
async fn every_path_of_the_document_answers_and_none_is_forgotten() {
    let controller = Controller::start();
    let document = serde_json::to_value(roost_controller::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace(['{', '}'], "");
            let response = controller.anonymous(method.clone(), &path).send().await.unwrap();
            let status = response.status().as_u16();
            assert!(status != 404 && status != 405, "{method} {path}: {status}");
        }
    }
    let names: Vec<&str> = paths
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|o| o["operationId"].as_str().unwrap())
        .collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "an operation's id is there twice: {names:?}");
    // The router's source names every route; each must be in the document.
    let source = include_str!("../../src/api/router.rs");
    let named: usize = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".routes(routes!("))
        .map(|line| line.split(',').filter(|part| part.contains("::")).count())
        .sum();
    let documented: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(named, documented);
    assert!(!source.contains(".route(\"/v1"), "a public route must be made with routes!");
}
