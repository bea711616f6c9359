//! The hub's HTTP: operators under /api/v1, agents under /agent/v1. Each route declares who may use it in one table, from
//! which the router is made; what is in no table is not there.

mod agents;
mod credentials;
mod guard;
mod operators;
pub mod server;
mod stream;

use crate::{engine::Engine, link, model::messages::HubInfo};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{MethodRouter, delete, get, post},
};
use guard::Class;
use std::{convert::Infallible, sync::Arc};

/// The largest body of an operator's request: 256 KiB.
const REQUEST_LIMIT: usize = 256 << 10;

/// What handlers work with.
#[derive(Clone)]
pub struct Context {
    /// The hub's mind.
    pub engine: Arc<Engine>,
    /// What the hub says of itself; its time is filled in when asked.
    pub info: Arc<HubInfo>,
}

/// One line of the table: path, who, how large a body, what.
type Route = (&'static str, Class, usize, MethodRouter<Context>);

fn routes() -> Vec<Route> {
    use Class::{Admin, Agent, Joining, Operator, Viewer};
    vec![
        (link::wire::path::JOIN, Joining, link::JOIN_LIMIT, post(agents::join)),
        (link::wire::path::POLL, Agent, link::POLL_LIMIT, post(agents::poll)),
        (link::wire::path::RESULT, Agent, link::RESULT_LIMIT, post(agents::result)),
        (link::wire::path::OUTPUT, Agent, link::RESULT_LIMIT, post(agents::output)),
        ("/agent/v1/artifact/{sha256}", Agent, 0, get(agents::artifact)),
        ("/api/v1/hub", Viewer, 0, get(operators::hub)),
        ("/api/v1/plans", Operator, REQUEST_LIMIT, post(operators::make_plan)),
        ("/api/v1/plans", Viewer, 0, get(operators::history)),
        ("/api/v1/plans/{id}", Viewer, 0, get(operators::show)),
        ("/api/v1/plans/{id}/approve", Operator, REQUEST_LIMIT, post(operators::approve)),
        ("/api/v1/plans/{id}/deny", Operator, REQUEST_LIMIT, post(operators::deny)),
        ("/api/v1/plans/{id}/cancel", Operator, REQUEST_LIMIT, post(operators::cancel)),
        ("/api/v1/plans/{id}/settle", Operator, REQUEST_LIMIT, post(operators::settle)),
        ("/api/v1/plans/{id}/execute", Operator, REQUEST_LIMIT, post(operators::execute)),
        ("/api/v1/events", Viewer, 0, get(operators::events)),
        ("/api/v1/inventory", Viewer, 0, get(operators::inventory)),
        ("/api/v1/guests", Viewer, 0, get(operators::guests)),
        ("/api/v1/nodes", Viewer, 0, get(operators::nodes)),
        ("/api/v1/agents", Viewer, 0, get(operators::agents)),
        ("/api/v1/agents/lock", Operator, REQUEST_LIMIT, post(operators::lock)),
        ("/api/v1/agents/quarantine", Operator, REQUEST_LIMIT, post(operators::quarantine)),
        ("/api/v1/agents/unlock", Admin, REQUEST_LIMIT, post(operators::unlock)),
        ("/api/v1/agents/evict", Admin, REQUEST_LIMIT, post(operators::evict)),
        ("/api/v1/join-tokens", Admin, REQUEST_LIMIT, post(operators::join_token)),
        ("/api/v1/credentials", Admin, REQUEST_LIMIT, get(credentials::list).post(credentials::add)),
        ("/api/v1/credentials/{name}", Admin, 0, delete(credentials::remove)),
        ("/api/v1/credentials/{name}/rotate", Admin, REQUEST_LIMIT, post(credentials::rotate)),
        ("/api/v1/host-keys", Operator, REQUEST_LIMIT, post(credentials::trust)),
        ("/api/v1/operators", Admin, REQUEST_LIMIT, get(operators::list).post(operators::add)),
        ("/api/v1/operators/{name}", Admin, 0, delete(operators::remove)),
    ]
}

/// The whole router.
pub fn router(context: &Context) -> Router {
    let mut router = Router::new();
    for (path, class, limit, handler) in routes() {
        let guard = middleware::from_fn_with_state((context.clone(), class, limit), guard::check);
        router = router.route(
            path,
            handler.layer::<_, Infallible>(guard).layer::<_, Infallible>(DefaultBodyLimit::max(limit.max(1))),
        );
    }
    router.fallback(guard::nowhere).with_state(context.clone())
}
