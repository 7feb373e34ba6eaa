//! Calls of the Workload API.

use crate::judge::{authorities, certificates, token};
use crate::{answer, text, texts, Answer, Failure, UNKNOWN};
use serde_json::{json, Map, Value};
use spiffe::transport::TransportError;
use spiffe::{SpiffeId, WorkloadApiClient, WorkloadApiError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const PERMISSION_DENIED: i32 = 7;

pub async fn call(op: &str, order: &Value) -> Answer {
    let done = async {
        let address = format!("unix:{}", text(order, "socket"));
        let client = WorkloadApiClient::connect_to(address).await.map_err(told)?;
        match op {
            "fetch" => fetch(&client).await,
            "tokens" => tokens(&client, order).await,
            "validate" => validate(&client, order).await,
            "token_keys" => token_keys(&client).await,
            other => Err(Failure::new(format!("no operation {other:?}"))),
        }
    };
    tokio::time::timeout(PATIENCE, done).await?
}

fn told(error: WorkloadApiError) -> Failure {
    let code = match &error {
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => {
            PERMISSION_DENIED
        }
        WorkloadApiError::Transport(TransportError::Status(status)) => status.code() as i32,
        _ => UNKNOWN,
    };
    Failure {
        code,
        ..Failure::from(error)
    }
}

async fn fetch(client: &WorkloadApiClient) -> Answer {
    let got = client.fetch_x509_context().await.map_err(told)?;
    let svids: Vec<Value> = got
        .svids()
        .iter()
        .map(|each| {
            json!({
                "id": each.spiffe_id().to_string(),
                "hint": each.hint().unwrap_or_default(),
                "chain": each.cert_chain().len(),
            })
        })
        .collect();
    let mut bundles = Map::new();
    for (domain, bundle) in got.bundle_set().iter() {
        bundles.insert(domain.to_string(), certificates(bundle).len().into());
    }
    answer(json!({ "svids": svids, "bundles": bundles }))
}

async fn tokens(client: &WorkloadApiClient, order: &Value) -> Answer {
    let wanted = match text(order, "spiffe_id") {
        "" => None,
        id => Some(SpiffeId::new(id)?),
    };
    let audience = texts(&order["audience"]);
    let svids = client
        .fetch_all_jwt_svids(audience, wanted.as_ref())
        .await
        .map_err(told)?;
    answer(json!({ "svids": svids.iter().map(token).collect::<Vec<_>>() }))
}

async fn validate(client: &WorkloadApiClient, order: &Value) -> Answer {
    let audience = texts(&order["audience"]);
    let svid = client
        .validate_jwt_token(audience[0], text(order, "token"))
        .await
        .map_err(told)?;
    answer(token(&svid))
}

async fn token_keys(client: &WorkloadApiClient) -> Answer {
    let mut found = Map::new();
    for (domain, bundle) in client.fetch_jwt_bundles().await.map_err(told)?.iter() {
        found.insert(domain.to_string(), Value::Object(authorities(bundle)?));
    }
    answer(json!({ "bundles": found }))
}
