//! A workload on the `spiffe` crate for the interoperability tests.
//!
//! It reads orders from standard input, one JSON object a line, and answers each with one JSON line that carries
//! the order's id; it ends when standard input is closed. The orders are those of `peers/spiffepeer/main.go` that
//! tests/support/judge.py knows, as far as the crate offers what they ask for.

mod calls;
mod judge;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde_json::{json, Map, Value};
use std::io::{BufRead, Write};

/// Whatever went wrong, in words and, where a peer said one, with its status code.
pub struct Failure {
    why: String,
    code: i32,
}

const UNKNOWN: i32 = 2;

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(each) = cause {
            why = format!("{why}: {each}");
            cause = each.source();
        }
        Self { why, code: UNKNOWN }
    }
}

impl Failure {
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            code: UNKNOWN,
        }
    }
}

pub type Answer = Result<Map<String, Value>, Failure>;

/// An object, from the one that `json!` makes.
pub fn answer(value: Value) -> Answer {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Failure::new("not an object")),
    }
}

pub fn text<'a>(order: &'a Value, name: &str) -> &'a str {
    order[name].as_str().unwrap_or_default()
}

pub fn bytes(value: &Value) -> Result<Vec<u8>, Failure> {
    Ok(STANDARD.decode(value.as_str().unwrap_or_default())?)
}

pub fn encoded(data: &[u8]) -> Value {
    Value::String(STANDARD.encode(data))
}

pub fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn obey(runtime: &tokio::runtime::Runtime, order: &Value) -> Answer {
    match text(order, "op") {
        "judge" => {
            let questions = order["questions"].as_array().cloned().unwrap_or_default();
            answer(json!({ "verdicts": questions.iter().map(judge::verdict).collect::<Vec<_>>() }))
        }
        op => runtime.block_on(calls::call(op, order)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let mut reply = match obey(&runtime, &order) {
            Ok(reply) => reply,
            Err(failure) => {
                let mut reply = Map::new();
                reply.insert("error".into(), failure.why.into());
                reply.insert("code".into(), failure.code.into());
                reply
            }
        };
        reply.insert("id".into(), order["id"].clone());
        writeln!(out, "{}", Value::Object(reply))?;
        out.flush()?;
    }
    Ok(())
}
