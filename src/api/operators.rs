//! The operators' API: what `remotectl ask` and every other command calls.

use super::{
    Context,
    guard::{Failed, Who},
    stream,
};
use crate::{
    engine::{asking::stored, seal::Row},
    link::join::Pointer,
    model::{
        Answer, Failure, Inventory, Target,
        digest::Digest,
        messages::{
            AgentRow, ApproveRequest, Event, ExecuteRequest, GuestRow, HoldRequest, HubInfo, JoinToken,
            JoinTokenRequest, NewOperator, NodeRow, OperatorRow, OperatorToken, PlanRecord, PlanRequest, SettleRequest,
        },
        selector,
    },
    store::OperatorRecord,
    sys::{clock, random},
};
use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::JsonRejection},
    response::Response,
};
use serde::Deserialize;
use std::sync::Arc;

pub(super) type Done<T> = Result<Json<T>, Failed>;
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    #[serde(default)]
    selector: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

pub(super) fn body<T>(body: Body<T>) -> Result<T, Failed> {
    body.map(|Json(body)| body).map_err(|error| Failure::usage(error.body_text()).into())
}

/// What the hub says of itself.
pub async fn hub(State(context): State<Context>) -> Json<HubInfo> {
    Json(HubInfo { time: clock::unix_seconds(), ..HubInfo::clone(&context.info) })
}

/// Makes a plan.
pub async fn make_plan(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<PlanRequest>,
) -> Done<Answer> {
    Ok(Json(context.engine.make(body(request)?, &who).await?))
}

/// Records a yes.
pub async fn approve(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(id): Path<String>,
    request: Body<ApproveRequest>,
) -> Done<PlanRecord> {
    let id = id.to_ascii_uppercase();
    context.engine.approve(&id, body(request)?, &who).await?;
    Ok(Json(context.engine.record(&id)?))
}

/// Records a no.
pub async fn deny(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(id): Path<String>,
) -> Done<PlanRecord> {
    let id = id.to_ascii_uppercase();
    context.engine.deny(&id, &who).await?;
    Ok(Json(context.engine.record(&id)?))
}

/// Stops a plan.
pub async fn cancel(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(id): Path<String>,
) -> Done<PlanRecord> {
    let id = id.to_ascii_uppercase();
    context.engine.cancel(&id, &who).await?;
    Ok(Json(context.engine.record(&id)?))
}

/// Keeps what an operator says of what is unknown.
pub async fn settle(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(id): Path<String>,
    request: Body<SettleRequest>,
) -> Done<PlanRecord> {
    let id = id.to_ascii_uppercase();
    context.engine.settle(&id, body(request)?, &who).await?;
    Ok(Json(context.engine.record(&id)?))
}

/// Begins a plan, and tells what happens until it is over.
pub async fn execute(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Body<ExecuteRequest>,
) -> Result<Response, Failed> {
    let id = id.to_ascii_uppercase();
    // Listening begins before the plan does, so that nothing is missed.
    let listening = context.engine.listen();
    context.engine.execute(&id, &body(request)?.digest).await?;
    let (engine, plan) = (Arc::clone(&context.engine), id.clone());
    let ended = move || {
        let PlanRecord { state, answer, .. } = engine.record(&plan).ok().filter(|record| record.state.terminal())?;
        Some(Event::Ended { plan: plan.clone(), state, answer })
    };
    Ok(stream::of_plan(listening, id, ended, context.engine.stopping()))
}

/// Everything that happens.
pub async fn events(State(context): State<Context>) -> Response {
    stream::of_all(context.engine.listen(), context.engine.stopping())
}

/// One plan.
pub async fn show(State(context): State<Context>, Path(id): Path<String>) -> Done<PlanRecord> {
    Ok(Json(context.engine.record(&id)?))
}

/// The newest plans.
pub async fn history(State(context): State<Context>, Query(which): Query<Which>) -> Done<Vec<PlanRecord>> {
    Ok(Json(context.engine.history(which.limit.unwrap_or(20).min(1000))?))
}

/// Everything that is known.
pub async fn inventory(State(context): State<Context>) -> Json<Inventory> {
    Json(context.engine.inventory())
}

/// Guests.
pub async fn guests(State(context): State<Context>, Query(which): Query<Which>) -> Done<Vec<GuestRow>> {
    let inventory = context.engine.inventory();
    let targets = match &which.selector {
        Some(text) => select(text, &inventory)?,
        None => inventory.guests.iter().map(crate::model::inventory::Guest::target).collect(),
    };
    Ok(Json(context.engine.guest_rows(&inventory, &targets)))
}

/// Nodes.
pub async fn nodes(State(context): State<Context>, Query(which): Query<Which>) -> Done<Vec<NodeRow>> {
    let inventory = context.engine.inventory();
    let mut rows = context.engine.node_rows(&inventory);
    if let Some(text) = &which.selector {
        let targets = select(text, &inventory)?;
        rows.retain(|row| targets.contains(&Target::node(row.node.name.clone())));
    }
    Ok(Json(rows))
}

/// Agents.
pub async fn agents(State(context): State<Context>, Query(which): Query<Which>) -> Done<Vec<AgentRow>> {
    let inventory = context.engine.inventory();
    let mut rows = context.engine.agent_rows(&inventory);
    if let Some(text) = &which.selector {
        let targets = select(text, &inventory)?;
        rows.retain(|row| targets.contains(&row.target));
    }
    Ok(Json(rows))
}

/// Locks an agent.
pub async fn lock(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<HoldRequest>,
) -> Done<AgentRow> {
    Ok(Json(context.engine.lock(body(request)?, &who).await?))
}

/// Puts an agent into quarantine.
pub async fn quarantine(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<HoldRequest>,
) -> Done<AgentRow> {
    Ok(Json(context.engine.doubt(body(request)?, &who).await?))
}

/// Takes a lock back.
pub async fn unlock(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<HoldRequest>,
) -> Done<AgentRow> {
    Ok(Json(context.engine.unlock(body(request)?, &who).await?))
}

/// Ends an agent's identity.
pub async fn evict(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<HoldRequest>,
) -> Done<AgentRow> {
    Ok(Json(context.engine.evict(body(request)?, &who).await?))
}

fn select(text: &str, inventory: &Inventory) -> Result<Vec<Target>, Failed> {
    selector::select(text, inventory).map_err(|error| Failure::from(error).into())
}

/// A string by which an agent may join once.
pub async fn join_token(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<JoinTokenRequest>,
) -> Done<JoinToken> {
    let request = body(request)?;
    if !matches!(request.role.as_str(), "agent" | "pve-agent") {
        return Err(Failure::usage(format!("`{}` is no role", request.role)).help("--role agent|pve-agent").into());
    }
    let JoinTokenRequest { role, target, .. } = request;
    let made = context.engine.make_join_token(role, target, who).await;
    let (pointer, expires) = made.map_err(|error| stored("keeping the join token", &error))?;
    Ok(Json(JoinToken { join_string: pointer.to_string(), expires }))
}

/// A new operator, with a token that is shown once.
pub async fn add(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<NewOperator>,
) -> Done<OperatorToken> {
    let NewOperator { name, role, expires } = body(request)?;
    if !crate::model::target::is_name(&name) {
        return Err(Failure::usage(format!("`{name}` is no name for an operator"))
            .help("letters, digits, - . _")
            .into());
    }
    if !matches!(role.as_str(), "admin" | "operator" | "viewer") {
        return Err(Failure::usage(format!("`{role}` is no role")).help("--role admin|operator|viewer").into());
    }
    if expires.is_some_and(|seconds| seconds < 1) {
        return Err(Failure::usage("a token that is over already is of no use").help("--expires 30d").into());
    }
    let (secret, created) = (secret(), clock::unix_seconds());
    let (token, expires) = (Digest::of(secret.as_bytes()), expires.map(|seconds| created.saturating_add(seconds)));
    let seal = context.engine.identity.seal(&Row::Operator { name: &name, role: &role, token: &token, expires });
    let record = OperatorRecord { name: name.clone(), role, token, created, expires, last_used: None, seal };
    let kept = context.engine.store.add_operator(record, who).await;
    kept.map_err(|error| stored("keeping the operator", &error))?;
    Ok(Json(OperatorToken { name, login_string: pointer(&context, secret), expires }))
}

/// Operators.
pub async fn list(State(context): State<Context>) -> Done<Vec<OperatorRow>> {
    let records = context.engine.store.operators().map_err(|error| stored("reading the operators", &error))?;
    let now = clock::unix_seconds();
    let row = |OperatorRecord { name, role, created, expires, last_used, .. }| {
        let expired = expires.is_some_and(|expires| expires < now);
        OperatorRow { name, role, created, expires, expired, last_used }
    };
    Ok(Json(records.into_iter().map(row).collect()))
}

/// Takes an operator away.
pub async fn remove(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(name): Path<String>,
) -> Done<()> {
    let removed = context.engine.store.remove_operator(name.clone(), clock::unix_seconds(), who).await;
    if removed.map_err(|error| stored("removing the operator", &error))? {
        return Ok(Json(()));
    }
    Err(Failure::new(format!("there is no operator {name}")).help("remotectl hub operator list").into())
}

/// 256 random bits.
fn secret() -> String {
    crate::model::digest::hex(&random::bytes::<32>())
}

fn pointer(context: &Context, token: String) -> String {
    Pointer { token: Some(token), ..context.engine.identity.pointer.clone() }.to_string()
}
