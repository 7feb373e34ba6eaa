//! The crate's own verdicts. It verifies no chains and reads no SPIFFE bundle documents.

use crate::{answer, bytes, encoded, text, texts, Answer, Failure};
use serde_json::{json, Map, Value};
use spiffe::{JwtBundle, JwtBundleSet, JwtSvid, SpiffeId, TrustDomain, X509Bundle, X509Svid};

pub fn verdict(question: &Value) -> Value {
    let result = match text(question, "what") {
        "id" => id(question),
        "jwt" => jwt(question),
        "svid" => svid(question),
        "keys" => keys(question),
        "anchors" => anchors(question),
        other => {
            return json!({ "ok": false, "why": format!("no question {other:?}"), "unknown": true })
        }
    };
    match result {
        Ok(mut members) => {
            members.insert("ok".into(), true.into());
            Value::Object(members)
        }
        Err(failure) => json!({ "ok": false, "why": failure.why }),
    }
}

fn id(question: &Value) -> Answer {
    let data = bytes(&question["text"])?;
    let found = SpiffeId::new(std::str::from_utf8(&data)?)?;
    answer(json!({
        "spiffe_id": found.to_string(), "trust_domain": found.trust_domain_name(), "path": found.path(),
    }))
}

fn jwt(question: &Value) -> Answer {
    let mut bundles = JwtBundleSet::new();
    for (name, document) in question["keys"].as_object().into_iter().flatten() {
        bundles.add_bundle(JwtBundle::from_jwt_authorities(
            TrustDomain::new(name)?,
            &bytes(document)?,
        )?);
    }
    let audience = texts(&question["audience"]);
    answer(token(&JwtSvid::parse_and_validate(
        text(question, "token"),
        &bundles,
        &audience,
    )?))
}

/// Of the claims the crate tells only those that the standard demands.
pub fn token(svid: &JwtSvid) -> Value {
    let claims = svid.claims();
    json!({
        "spiffe_id": svid.spiffe_id().to_string(),
        "audience": svid.audience(),
        "expires_at": svid.expiry().unix_timestamp(),
        "hint": svid.hint().unwrap_or_default(),
        "claims": { "sub": claims.sub(), "aud": claims.aud(), "exp": claims.exp() },
        "token": svid.token(),
    })
}

fn svid(question: &Value) -> Answer {
    let mut chain = Vec::new();
    for each in question["chain"].as_array().into_iter().flatten() {
        chain.extend(bytes(each)?);
    }
    let found = X509Svid::parse_from_der(&chain, &bytes(&question["key"])?)?;
    answer(json!({ "spiffe_id": found.spiffe_id().to_string() }))
}

fn keys(question: &Value) -> Answer {
    let domain = TrustDomain::new(text(question, "trust_domain"))?;
    let bundle = JwtBundle::from_jwt_authorities(domain, &bytes(&question["document"])?)?;
    answer(json!({ "jwt": authorities(&bundle)? }))
}

/// By key id, as the JWKs that the crate keeps.
pub fn authorities(bundle: &JwtBundle) -> Result<Map<String, Value>, Failure> {
    let mut found = Map::new();
    for each in bundle.jwt_authorities() {
        found.insert(
            each.key_id().to_owned(),
            serde_json::from_slice(each.jwk_json())?,
        );
    }
    Ok(found)
}

fn anchors(question: &Value) -> Answer {
    let domain = TrustDomain::new(text(question, "trust_domain"))?;
    let bundle = X509Bundle::parse_from_der(domain, &bytes(&question["document"])?)?;
    answer(json!({ "x509": certificates(&bundle) }))
}

pub fn certificates(bundle: &X509Bundle) -> Vec<Value> {
    bundle
        .authorities()
        .iter()
        .map(|each| encoded(each.as_bytes()))
        .collect()
}
