//! What pages may: which are served, under which name, and what browsers are told of that.
//!
//! The rules are in `access`.

use crate::http::{Request, Response, Status};
use crate::pusher::fallback::path::SessionName;
use crate::server::access::{Access, Refusal};
use crate::server::api::basis::Basis;
use crate::server::api::routes::Route;
use crate::server::apps::Apps;

/// What pages of other origins may send besides what the Fetch standard lists.
const PREFLIGHT_FIELDS: &str = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID";

/// How long a browser may cache the answer to a preflight: the most that Chromium takes.
const PREFLIGHT_SECONDS: &str = "7200";

/// Checks that the server answers to the name that the request asks for, and that the page that made it is served.
pub fn check_page(route: &Route, request: &Request, basis: Basis<'_>) -> Result<(), Refusal> {
    // Probes ask by whatever name or address their orchestrator has, and learn no more than from a connection.
    if !matches!(route, Route::Health | Route::Ready) {
        basis.access.check_host(request)?;
    }
    match route {
        // A Pusher client is told after the handshake.
        Route::Pusher(_) | Route::PusherElsewhere => Ok(()),
        Route::Session(session, _) => check_session_origin(request, session, basis.access, basis.apps),
        _ => basis.access.check_origin(request),
    }
}

/// Checks that the page that made the request of a session is served: by the app, if that has origins of its own.
pub fn check_session_origin(
    request: &Request,
    session: &SessionName,
    access: &Access,
    apps: &Apps,
) -> Result<(), Refusal> {
    let app = apps.by_key(&session.key);
    let settings = app.as_ref().map(|app| app.settings());
    let origins = settings.as_ref().map_or(&[][..], |settings| &settings.allow_origin);
    access.check_app_origin(request, origins)
}

/// The answer to a CORS preflight (the Fetch standard), and to other requests for the methods.
pub fn options(request: &Request, allow: &'static str, access: &Access) -> Response {
    let response = Response::new(Status::NO_CONTENT).header("Allow", allow);
    if request.header("access-control-request-method").is_none() {
        return response;
    }
    let response = response
        .header("Access-Control-Allow-Methods", allow)
        .header("Access-Control-Allow-Headers", PREFLIGHT_FIELDS)
        .header("Access-Control-Max-Age", PREFLIGHT_SECONDS);
    // Not to a page that may only read: a file on disk is already on this machine and needs no permission; other
    // pages without an origin are frames of pages elsewhere.
    match request.header("access-control-request-private-network") {
        Some(_) if access.check_fully_served(request).is_ok() => {
            response.header("Access-Control-Allow-Private-Network", "true")
        }
        _ => response,
    }
}

/// The origin whose pages may read the answer to the request.
pub fn allow_origin<'a>(request: &'a Request, access: &Access, apps: &Apps) -> Option<&'a str> {
    let origin = access.allow_origin(request)?;
    let served = match Route::session(request.path()) {
        Some((session, _)) => check_session_origin(request, &session, access, apps),
        None => access.check_origin(request),
    };
    served.ok().map(|()| origin)
}
