"""What is said of threads."""

from __future__ import annotations

from typing import get_args

from gateway.errors import (
    BadRequest,
    CrossSite,
    NotFound,
    RunConflict,
    StoreUnavailable,
    StreamUnavailable,
    ThreadChanged,
    ThreadExists,
)
from gateway.history import Archived
from gateway.openapi.models import (
    AgUiMessages,
    AiSdkMessages,
    BranchList,
    NativeMessages,
    ThreadDetails,
    ThreadPage,
)
from gateway.openapi.operation import Answer, Body, Operation, Parameter
from gateway.surfaces.thread_branches import Fork
from gateway.surfaces.thread_changes import ThreadChange
from gateway.surfaces.thread_requests import DEFAULT_LIMIT, MAX_LIMIT
from gateway.surfaces.threads import FORMATS, NATIVE

LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
ARCHIVED = {"type": "string", "enum": list(get_args(Archived)), "default": "exclude"}
THREAD = Answer("The thread.", ThreadDetails)
MESSAGES = AgUiMessages | AiSdkMessages | NativeMessages
STANDING = (NotFound, StoreUnavailable, StreamUnavailable)

OPERATIONS = {
    "GET /threads": Operation(
        "list_threads",
        "List the caller's threads, newest first.",
        {200: Answer("One page.", ThreadPage)},
        parameters=(
            Parameter("limit", "Most threads on one page.", LIMIT),
            Parameter("cursor", "The `next_cursor` of the page before."),
            Parameter("agent", "Only the threads that this agent spoke last on."),
            Parameter(
                "archived", "Whether archived threads are left out, among the others, or all there is.", ARCHIVED
            ),
        ),
        errors=(BadRequest, StoreUnavailable),
    ),
    "GET /threads/{id}": Operation("read_thread", "Read a thread.", {200: THREAD}, errors=STANDING),
    "PATCH /threads/{id}": Operation(
        "change_thread",
        "Rename a thread, archive it, or bring it back.",
        {200: THREAD},
        description="A `title` of `null` is the one that the thread had by itself. Archived threads can be used as "
        "any other; only lists leave them out.",
        body=Body(ThreadChange, {"title": "A trip to Oslo"}),
        errors=STANDING,
    ),
    "DELETE /threads/{id}": Operation(
        "delete_thread",
        "Delete a thread with its messages, branches and files.",
        {204: Answer("It is gone.")},
        errors=(CrossSite, RunConflict, NotFound, StoreUnavailable, StreamUnavailable),
    ),
    "GET /threads/{id}/messages": Operation(
        "read_messages",
        "Read a thread's messages, in the shape of a client.",
        {200: Answer("The messages.", MESSAGES)},
        parameters=(
            Parameter(
                "format",
                "Whose shape: AG-UI's, the AI SDK's, or pydantic-ai's own.",
                {"type": "string", "enum": list(FORMATS), "default": NATIVE},
            ),
        ),
        errors=(BadRequest, NotFound, StoreUnavailable),
    ),
    "POST /threads/{id}/fork": Operation(
        "fork_thread",
        "Go on in a new thread with the same beginning.",
        {201: Answer("The new thread.", ThreadDetails, headers=("location",))},
        description="Without a body the whole thread is forked, under an id of the gateway's.",
        body=Body(Fork, {"id": "chat-2"}, required=False),
        errors=(CrossSite, NotFound, ThreadExists, StoreUnavailable),
    ),
    "GET /threads/{id}/branches": Operation(
        "list_branches",
        "What edits and regenerated answers have left.",
        {200: Answer("The branches.", BranchList)},
        errors=STANDING,
    ),
    "POST /threads/{id}/branches/{entry}": Operation(
        "switch_branch",
        "Go back to another branch.",
        {200: THREAD},
        errors=(CrossSite, RunConflict, ThreadChanged, *STANDING),
    ),
}
