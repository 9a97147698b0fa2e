// Where the answers come from: the server of this page. The page of one file has another such module.

export const respond = (path, options) => fetch(path, options);

export const SILENT = "The server does not answer; is corelm play still running?";

// The state that the page opens with where its address has none, and where links lead.
export const first = {};

export const address = () => `${location.origin}/play`;
