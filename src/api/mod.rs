//! The hub's HTTP: operators under /api/v1, agents under /agent/v1. Each route declares who may use it in one table, from
//! which the router is made; what is in no table is not there.

mod agents;
mod credentials;
mod guard;
mod operators;
pub mod server;
mod stream;
mod tokens;

use crate::{engine::Engine, link, model::messages::HubInfo};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Method,
    middleware,
    routing::{MethodRouter, delete as on_delete, get as on_get, post as on_post},
};
pub use guard::Class;
use std::{convert::Infallible, sync::Arc};
use tokens::Tokens;

/// The largest body of an operator's request: 256 KiB.
const REQUEST_LIMIT: usize = 256 << 10;

/// What handlers work with.
#[derive(Clone)]
pub struct Context {
    /// The hub's mind.
    pub engine: Arc<Engine>,
    /// What the hub says of itself; its time is filled in when asked.
    pub info: Arc<HubInfo>,
    tokens: Arc<Tokens>,
}

impl Context {
    /// For a hub that says this of itself.
    pub fn new(engine: Arc<Engine>, info: HubInfo) -> Self {
        Self { engine, info: Arc::new(info), tokens: Arc::default() }
    }
}

/// One line of the table: method, path, who, how large a body, what.
type Route = (Method, &'static str, Class, usize, MethodRouter<Context>);

fn routes() -> Vec<Route> {
    use Class::{Admin, Agent, Joining, Operator, Viewer};
    let get = |path, class, handler: MethodRouter<Context>| (Method::GET, path, class, 0, handler);
    let post = |path, class, handler: MethodRouter<Context>| (Method::POST, path, class, REQUEST_LIMIT, handler);
    let delete = |path, handler: MethodRouter<Context>| (Method::DELETE, path, Admin, 0, handler);
    let told = |path, limit, handler: MethodRouter<Context>| (Method::POST, path, Agent, limit, handler);
    vec![
        (Method::POST, link::wire::path::JOIN, Joining, link::JOIN_LIMIT, on_post(agents::join)),
        told(link::wire::path::POLL, link::POLL_LIMIT, on_post(agents::poll)),
        told(link::wire::path::RESULT, link::RESULT_LIMIT, on_post(agents::result)),
        told(link::wire::path::OUTPUT, link::RESULT_LIMIT, on_post(agents::output)),
        get("/agent/v1/artifact/{sha256}", Agent, on_get(agents::artifact)),
        get("/api/v1/hub", Viewer, on_get(operators::hub)),
        post("/api/v1/plans", Operator, on_post(operators::make_plan)),
        get("/api/v1/plans", Viewer, on_get(operators::history)),
        get("/api/v1/plans/{id}", Viewer, on_get(operators::show)),
        post("/api/v1/plans/{id}/approve", Operator, on_post(operators::approve)),
        post("/api/v1/plans/{id}/deny", Operator, on_post(operators::deny)),
        post("/api/v1/plans/{id}/cancel", Operator, on_post(operators::cancel)),
        post("/api/v1/plans/{id}/settle", Operator, on_post(operators::settle)),
        post("/api/v1/plans/{id}/execute", Operator, on_post(operators::execute)),
        get("/api/v1/events", Viewer, on_get(operators::events)),
        get("/api/v1/inventory", Viewer, on_get(operators::inventory)),
        get("/api/v1/guests", Viewer, on_get(operators::guests)),
        get("/api/v1/nodes", Viewer, on_get(operators::nodes)),
        get("/api/v1/agents", Viewer, on_get(operators::agents)),
        post("/api/v1/agents/lock", Operator, on_post(operators::lock)),
        post("/api/v1/agents/quarantine", Operator, on_post(operators::quarantine)),
        post("/api/v1/agents/unlock", Admin, on_post(operators::unlock)),
        post("/api/v1/agents/evict", Admin, on_post(operators::evict)),
        post("/api/v1/join-tokens", Admin, on_post(operators::join_token)),
        get("/api/v1/credentials", Admin, on_get(credentials::list)),
        post("/api/v1/credentials", Admin, on_post(credentials::add)),
        delete("/api/v1/credentials/{name}", on_delete(credentials::remove)),
        post("/api/v1/credentials/{name}/rotate", Admin, on_post(credentials::rotate)),
        post("/api/v1/host-keys", Admin, on_post(credentials::trust)),
        get("/api/v1/operators", Admin, on_get(operators::list)),
        post("/api/v1/operators", Admin, on_post(operators::add)),
        delete("/api/v1/operators/{name}", on_delete(operators::remove)),
    ]
}

/// The table without what it leads to: method, path, and who may use it.
pub fn table() -> Vec<(Method, &'static str, Class)> {
    routes().into_iter().map(|(method, path, class, ..)| (method, path, class)).collect()
}

/// The whole router.
pub fn router(context: &Context) -> Router {
    let mut router = Router::new();
    for (_, path, class, limit, handler) in routes() {
        let guard = middleware::from_fn_with_state((context.clone(), class, limit), guard::check);
        router = router.route(
            path,
            handler.layer::<_, Infallible>(guard).layer::<_, Infallible>(DefaultBodyLimit::max(limit.max(1))),
        );
    }
    router.fallback(guard::nowhere).with_state(context.clone())
}
