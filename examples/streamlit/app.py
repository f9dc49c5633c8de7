"""Agents in a Streamlit app: `streamlit run examples/streamlit/app.py`; see README.md."""

import streamlit as st

st.set_page_config("Agents", page_icon=":material/chat:")
st.navigation(
    [
        st.Page("chat.py", title="Chat", icon=":material/chat:", default=True),
        st.Page("contacts.py", title="Structured output", icon=":material/contacts:"),
    ]
).run()
