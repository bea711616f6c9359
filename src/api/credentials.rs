//! Ways to log in to guests, as operators keep them: a secret comes in and never goes out.

use super::{
    Context,
    guard::Who,
    operators::{Body, Done, body},
};
use crate::{
    engine::asking::stored,
    model::messages::{CredentialRow, NewCredential, RotateCredential, TrustRequest},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
};

/// All of them, without their secrets.
pub async fn list(State(context): State<Context>) -> Done<Vec<CredentialRow>> {
    let rows = context.engine.credential_rows();
    Ok(Json(rows.map_err(|error| stored("reading the credentials", &error))?))
}

/// A new one.
pub async fn add(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<NewCredential>,
) -> Done<CredentialRow> {
    Ok(Json(context.engine.add_credential(body(request)?, &who).await?))
}

/// Another secret in its place.
pub async fn rotate(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(name): Path<String>,
    request: Body<RotateCredential>,
) -> Done<CredentialRow> {
    Ok(Json(context.engine.rotate_credential(&name, body(request)?, &who).await?))
}

/// Takes one away.
pub async fn remove(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    Path(name): Path<String>,
) -> Done<()> {
    context.engine.remove_credential(&name, &who).await?;
    Ok(Json(()))
}

/// A yes to a host key.
pub async fn trust(
    State(context): State<Context>,
    Extension(Who(who)): Extension<Who>,
    request: Body<TrustRequest>,
) -> Done<()> {
    context.engine.trust(body(request)?, &who).await?;
    Ok(Json(()))
}
