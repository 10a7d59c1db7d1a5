//! The description of the API.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Api;

#[tokio::test]
async fn the_description_names_every_route_and_each_of_them_is_there() {
    let api = Api::start();
    let description = api.get("/api/openapi.json", "").await.done();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{description}");
    let paths = description["paths"].as_object().unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operations.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let concrete = path.replace("{id}", "x").replace("{room}", "x").replace("{name}", "x");
            let answer = api.ask(&method.to_uppercase(), &concrete, "", "").await;
            let is_open = path == "/api/v1/info";
            assert_eq!(answer.status, if is_open { 200 } else { 401 }, "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(operations.len(), 20, "{operations:?}");
    check_references(&description, &description);
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            fields.values().for_each(|value| check_references(value, document));
        }
        Value::Array(values) => values.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}
