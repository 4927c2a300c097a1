//! All paths, and what every request passes.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::HttpBody as _,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, CorsLayer},
};
use utoipa::OpenApi as _;

use super::{
    app::{App, new_id},
    chat, completions,
    contract::Contract,
    embeddings,
    error::ApiError,
    head,
    metrics::Timer,
    page, sentences, sessions, status,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The status of a request whose client left before the head of the answer, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// The router of the whole server.
pub fn router(app: Arc<App>) -> anyhow::Result<Router> {
    let mut router = Router::new()
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(|| async { Json(Contract::openapi()) }))
        .route("/v1/models", get(status::models))
        .route("/v1/models/{model}", get(status::model))
        .route("/v1/completions", post(completions::create))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/sentences/segment", post(sentences::segment))
        .route("/v1/sentences/reconstruct", post(sentences::reconstruct))
        .route("/v1/sentences/decode", post(sentences::decode))
        .route("/v1/sentences/interpolate", post(sentences::interpolate))
        .route("/v1/sentences/similarity", post(sentences::similarity))
        .route("/v1/sessions", post(sessions::create))
        .route("/v1/sessions/restore", post(sessions::restore))
        .route(
            "/v1/sessions/{id}",
            get(sessions::describe).delete(sessions::delete),
        )
        .route("/v1/sessions/{id}/append", post(sessions::append))
        .route("/v1/sessions/{id}/generate", post(sessions::generate))
        .route("/v1/sessions/{id}/fork", post(sessions::fork))
        .route("/v1/sessions/{id}/rewind", post(sessions::rewind))
        .route("/v1/sessions/{id}/snapshot", get(sessions::snapshot));
    if app.settings.ui {
        router = router
            .route("/", get(page::root))
            .route("/page/{file}", get(page::file));
    }
    let router = router
        .fallback(async || ApiError::no_path())
        .method_not_allowed_fallback(async || ApiError::no_method())
        .layer(from_fn_with_state(Arc::clone(&app), gate))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::internal().into_response()
        }));
    let router = match cors(&app.settings.cors)? {
        Some(cors) => router.layer(cors),
        None => router,
    };
    let router = router.layer(from_fn_with_state(Arc::clone(&app), observe));
    Ok(router.with_state(app))
}

/// Pages of these origins may use the server; none, if there are none.
fn cors(origins: &[String]) -> anyhow::Result<Option<CorsLayer>> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins = origins.iter().map(|origin| HeaderValue::from_str(origin));
    let origins = origins.collect::<Result<Vec<_>, _>>()?;
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Clients have headers of their own, such as x-stainless-lang.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, header::RETRY_AFTER]);
    Ok(Some(cors))
}

/// Refuse heads that are not clear, other hosts, requests without a key, and those that come too
/// early or too late.
async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Err(error) = head::check(request.version(), request.headers()) {
        return error.into_response();
    }
    let host = request.headers().get(header::HOST);
    let host = String::from_utf8_lossy(host.map_or(&[], HeaderValue::as_bytes));
    if !app.hosts.admit(&host) {
        return ApiError::host(&host).into_response();
    }
    let path = request.uri().path();
    let open = matches!(path, "/health" | "/ready" | "/openapi.json") || page::has_path(path);
    if !open {
        let header = request.headers().get(header::AUTHORIZATION);
        if !app.keys.admit(header.map(HeaderValue::as_bytes)) {
            return ApiError::bad_key().into_response();
        }
    }
    if path.starts_with("/v1/") {
        if app.is_draining() {
            return ApiError::draining().into_response();
        }
        if !app.is_loaded() {
            return ApiError::loading().into_response();
        }
    }
    next.run(request).await
}

/// A request that is counted and logged at its end, without what is in it.
struct Record {
    app: Arc<App>,
    id: String,
    method: Method,
    endpoint: String,
    started: Instant,
    status: u16,
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self {
            app,
            id,
            method,
            endpoint,
            started,
            status,
        } = self;
        let time = started.elapsed();
        let milliseconds = time.as_millis() as u64;
        tracing::info!(id = *id, %method, endpoint = *endpoint, status = *status, milliseconds, "request");
        app.metrics.count_request(endpoint, *status);
        if *status != CLIENT_LEFT {
            app.metrics.time(Timer::Request, time);
        }
    }
}

/// Count and log a request. Where its client leaves, this is dropped before there is an answer.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let endpoint = request.extensions().get::<MatchedPath>();
    let endpoint = endpoint.map_or("other", MatchedPath::as_str);
    let mut record = Record {
        app,
        id: new_id("req"),
        method: request.method().clone(),
        endpoint: endpoint.to_owned(),
        started: Instant::now(),
        status: CLIENT_LEFT,
    };
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    record.status = response.status().as_u16();
    // A refusal may come before the body was read. The connection ends then, which the client has to
    // know: it would send its next request into it.
    if has_body && !response.status().is_success() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if let Ok(id) = HeaderValue::from_str(&record.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each route is in the contract, and each path of the contract is a route.
    #[test]
    fn the_contract_has_all_routes() {
        let source = include_str!("routes.rs");
        let routes = source
            .split("\"/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        let contract = Contract::openapi();
        let paths = &contract.paths.paths;
        for path in ["v1/completions", "v1/sessions/{id}/generate"] {
            assert!(routes.clone().any(|route| route == path), "{path}");
        }
        for path in paths.keys() {
            assert!(
                routes.clone().any(|route| format!("/{route}") == *path),
                "{path}"
            );
        }
        let known = |route: &str| paths.contains_key(&format!("/{route}"));
        let missing: Vec<_> = routes.filter(|route| route.contains("v1/")).collect();
        for route in missing.into_iter().filter(|route| *route != "v1/") {
            assert!(known(route), "{route}");
        }
    }
}
