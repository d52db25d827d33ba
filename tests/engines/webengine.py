"""One page in one QtWebEngine of a PyQt5 wheel: prints its console, then `VERDICT CODE TEXT`.

`webengine.py HOME URL PROFILE FILE_ACCESS [FLAG]...`: HOME is an installed engine, FILE_ACCESS 1 or 0.
Started by run-old.mjs, which watches the time, keeps an X server for it, and ends it.
"""
import ctypes
import importlib.machinery
import importlib.util
import sys

VERDICT = "String(window.__result === undefined ? document.title : window.__result)"
POLL_MS = 50


def load_qt(home):
    """The wheels want a top-level module `sip`; today's PyQt5-sip has the same ABI under another name."""
    file = home + "/sip.so"
    loader = importlib.machinery.ExtensionFileLoader("sip", file)
    spec = importlib.util.spec_from_file_location("sip", file, loader=loader)
    sip = importlib.util.module_from_spec(spec)
    loader.exec_module(sip)
    set_name = ctypes.pythonapi.PyCapsule_SetName
    set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
    load_qt.name = ctypes.c_char_p(b"sip._C_API")  # must outlive the capsule
    set_name(sip._C_API, load_qt.name)
    sys.modules["sip"] = sip
    sys.path.insert(0, home)


def say(text):
    """Only a verdict may start a line with its word."""
    sys.stdout.write(text.replace("\n", "\n  ") + "\n")
    sys.stdout.flush()


def run(url, profile, file_access, flags):
    from PyQt5.QtCore import QTimer, QUrl
    from PyQt5.QtWebEngineWidgets import QWebEnginePage, QWebEngineProfile
    from PyQt5.QtWebEngineWidgets import QWebEngineSettings, QWebEngineView
    from PyQt5.QtWidgets import QApplication

    app = QApplication(["tv", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-proxy-server"] + flags)
    done = []

    def finish(code, text):
        if not done:
            done.append((code, text))
            app.quit()

    class Page(QWebEnginePage):
        def javaScriptConsoleMessage(self, level, message, line, source):
            if level == 2 and message.startswith("Uncaught"):
                say("[exception] %s (%s:%d)" % (message, source or "inline", line))
            else:
                say("[%s] %s" % (("log", "warning", "error")[level], message))

        def certificateError(self, error):
            say("[error] certificate: " + error.errorDescription())
            return False

    # No parents: Python drops these in order, page before profile, or the profile is not written out.
    store = QWebEngineProfile("tv")
    store.setPersistentStoragePath(profile + "/storage")
    store.setCachePath(profile + "/cache")
    store.setPersistentCookiesPolicy(QWebEngineProfile.AllowPersistentCookies)
    page = Page(store, None)  # one argument would be taken for a parent
    settings = page.settings()
    settings.setAttribute(QWebEngineSettings.LocalContentCanAccessFileUrls, file_access)
    settings.setAttribute(QWebEngineSettings.LocalContentCanAccessRemoteUrls, False)
    settings.setAttribute(QWebEngineSettings.ErrorPageEnabled, False)
    view = QWebEngineView()
    view.setPage(page)
    view.resize(1920, 1080)

    def loaded(ok):
        if not ok:
            finish(2, "LOAD ERROR: " + url)
        page.loadFinished.disconnect(loaded)  # later loads are the page's own affair

    def answer(value):
        if isinstance(value, str) and value.startswith("PASS"):
            finish(0, value)
        elif isinstance(value, str) and value.startswith("FAIL"):
            finish(1, value)

    page.loadFinished.connect(loaded)
    view.renderProcessTerminated.connect(lambda how, code: finish(2, "CRASH: the page's process died"))
    timer = QTimer()
    timer.timeout.connect(lambda: page.runJavaScript(VERDICT, answer))
    timer.start(POLL_MS)
    view.show()
    page.load(QUrl(url))
    app.exec_()
    timer.stop()
    code, text = done[0] if done else (2, "CRASH: the window closed")
    say("VERDICT %d %s" % (code, text.replace("\n", " ")))
    sys.stdin.readline()  # a profile that is kept is written out before the end
    view.close()
    view.setPage(None)
    del view, page, store, settings
    for _ in range(3):
        app.processEvents()
    del app


if __name__ == "__main__":
    home, url, profile, file_access = sys.argv[1:5]
    load_qt(home)
    run(url, profile, file_access == "1", sys.argv[5:])
    sys.stdout.flush()
    import os

    os._exit(0)  # Qt's own end in an interpreter of another age is not to be relied on
