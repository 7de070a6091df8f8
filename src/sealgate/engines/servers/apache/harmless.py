"""Directives outside of all virtual hosts that change nothing in ours: a table, each group with the reason.

Names as httpd 2.4 and its own modules have them, lower case. What is in no group is refused: it may be of a
module that nobody here knows. For what depends on the arguments see ``inherited.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EVERYWHERE", "FILES", "MODULES", "OUTSIDE", "REPLACED", "REPLACED_BY_ONE", "SPECIAL"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EVERYWHERE: Mapping[str, frozenset[str]] = {
    "about logs, which promise nothing": _words(
        """loglevel errorlog errorlogformat logformat customlog globallog transferlog cookielog
        bufferedlogs logiotrackttfb forensiclog scriptlog scriptlogbuffer scriptloglength lualog"""
    ),
    "about files and folders, of which our hosts serve none": _words(
        """documentroot directoryindex directoryindexredirect directoryslash directorycheckhandler
        accessfilename acceptpathinfo fileetag enablemmap enablesendfile contentdigest userdir
        virtualdocumentroot virtualdocumentrootip virtualscriptalias virtualscriptaliasip
        allowoverride allowoverridelist cachefile mmapfile xbithack maxranges maxrangeoverlaps
        maxrangereversals indexoptions indexignore indexignorereset indexorderdefault
        indexstylesheet indexheadinsert readmename headername defaulticon addicon addiconbytype
        addiconbyencoding addalt addaltbytype addaltbyencoding adddescription languagepriority
        forcelanguagepriority cachenegotiateddocs mimemagicfile
        davlockdb davmintimeout davdepthinfinity limitxmlrequestbody ssiendtag ssierrormsg
        ssistarttag ssitimeformat ssiundefinedecho ssietag ssilastmodified ssilegacyexprparser
        imapbase imapdefault imapmenu"""
    ),
    "about programs and other languages, which no request of ours starts": _words(
        """scriptsock cgidscripttimeout cgiscripttimeout cgimapextension cgipassauth cgivar
        scriptinterpretersource rlimitcpu rlimitmem rlimitnproc suexec suexecusergroup php_value
        php_flag php_admin_value php_admin_flag phpinidir luaroot luascope luacodecache
        luapackagepath luapackagecpath wsgiscriptalias wsgiscriptaliasmatch wsgidaemonprocess
        wsgiprocessgroup wsgiapplicationgroup wsgipythonhome wsgipythonpath wsgisocketprefix
        wsgirestrictembedded wsgilazyinitialization wsgipassauthorization"""
    ),
    "sizes and times of what does nothing until it is asked for elsewhere": _words(
        """deflatecompressionlevel deflatebuffersize deflatewindowsize deflatememlevel
        deflatefilternote deflatealteretag deflateinflatelimitrequestbody deflateinflateratiolimit
        deflateinflateratioburst brotlicompressionquality brotlicompressionwindow
        brotlicompressionmaxinputblock brotlifilternote brotlialteretag cacheroot cachedirlevels
        cachedirlength cachemaxfilesize cacheminfilesize cachereadsize cachereadtime cachesocache
        cachesocachemaxsize cachesocachemaxtime cachesocachemintime cachesocachereadsize
        cachesocachereadtime cachedefaultexpire cachemaxexpire cacheminexpire
        cachelastmodifiedfactor cachelock cachelockmaxage cachelockpath cachequickhandler
        cacheignorecachecontrol cacheignoreheaders cacheignorenolastmod cacheignorequerystring
        cacheignoreurlsessionidentifiers cachestorenostore cachestoreprivate cachestoreexpired
        cachestaleonerror cacheheader cachedetailheader cachekeybaseurl cachedisable filterdeclare
        filterprovider filterprotocol filtertrace proxyhtmllinks proxyhtmlevents proxyhtmldoctype
        proxyhtmlcharsetout proxyhtmlbufsize proxyftpdircharset proxyftpescapewildcards
        proxyftplistonwildcard balancergrowth balancerinherit balancerpersist balancernonce
        proxyhcexpr proxyhctemplate proxyhctpsize proxyfcgibackendtype proxyfcgisetenvif
        sessionmaxage"""
    ),
}
"""Reason to names: harmless wherever they stand."""

OUTSIDE: Mapping[str, frozenset[str]] = {
    "about the server as a whole, or about reading its configuration": _words(
        """defaultruntimedir serverroot pidfile user group listen listenbacklog listencoresbucketsratio
        acceptfilter mutex define undefine loadfile error servername serveralias serveradmin
        servertokens serverpath namevirtualhost port coredumpdirectory enableexceptionhook
        gracefulshutdowntimeout scoreboardfile chrootdir receivebuffersize sendbuffersize
        limitinternalrecursion protocolshonororder flushmaxthreshold flushmaxpipelined
        readbuffersize usecanonicalphysicalport qualifyredirecturl extendedstatus proxystatus
        seerequesttail addmoduleinfo watchdoginterval startservers serverlimit threadlimit
        threadsperchild maxrequestworkers maxclients minsparethreads maxsparethreads minspareservers
        maxspareservers maxconnectionsperchild maxrequestsperchild maxmemfree threadstacksize
        asyncrequestworkerfactor heartbeatlisten heartbeataddress heartbeatmaxservers
        heartbeatstorage dbdriver dbdparams dbdmin dbdmax dbdkeep dbdexptime dbdpersist
        dbdpreparesql dbdinitsql"""
    ),
    "of directories that are asked only where a password is": _words(
        """ldapcacheentries ldapcachettl ldapopcacheentries ldapopcachettl ldapsharedcachefile
        ldapsharedcachesize ldaptrustedglobalcert ldaptrustedmode ldapverifyservercert
        ldapconnectionpoolttl ldapconnectiontimeout ldaptimeout ldapretries ldapretrydelay
        ldapreferrals ldapreferralhoplimit ldaplibrarydebug authncachesocache authncacheenable
        authbasicprovider authdigestshmemsize authnprovideralias authzprovideralias"""
    ),
    "of TLS: memory, chance, and client certificates, which ours ask for none": _words(
        """sslsessioncache sslsessioncachetimeout sslpassphrasedialog sslrandomseed sslcryptodevice
        sslfips sslstaplingcache sslstaplingerrorcachetimeout sslstaplingfaketrylater
        sslstaplingforceurl sslstaplingrespondertimeout sslstaplingresponsemaxage
        sslstaplingresponsetimeskew sslstaplingreturnrespondererrors sslstaplingstandardcachetimeout
        sslrenegbuffersize sslcacertificatefile sslcacertificatepath sslcadnrequestfile
        sslcadnrequestpath sslverifydepth sslcarevocationfile sslcarevocationpath
        sslocspdefaultresponder sslocspoverrideresponder
        sslocspresponsetimeskew sslocspresponsemaxage sslocsprespondertimeout sslocspuserequestnonce
        sslocspproxyurl sslocspnoverify sslocsprespondercertificatefile"""
    ),
    "of HTTP/2: how its work is spread, never what is answered": _words(
        """h2minworkers h2maxworkers h2maxworkeridleseconds h2streammaxmemsize h2tlswarmupsize
        h2tlscooldownsize h2copyfiles h2outputbuffering h2padding h2moderntlsonly h2serializeheaders
        h2sessionextrafiles h2maxdataframelen h2pushdiarysize h2pushpriority"""
    ),
    "of mod_remoteip, whose list is ours": _words(
        "remoteipheader remoteipinternalproxy remoteipinternalproxylist remoteiptrustedproxy "
        "remoteiptrustedproxylist remoteipproxiesheader"
    ),
    "to where a path leads: every request of ours is passed on or answered before that is asked": _words(
        "alias aliasmatch scriptalias scriptaliasmatch aliaspreservepath"
    ),
    "rules, which our hosts inherit none of": _words(
        "rewriteengine rewriterule rewritecond rewritemap rewritebase"
    ),
    # In a section even `AddType` undoes what our section takes out: mod_mime then forgets it (2.4.71).
    "a type by the end of a name: counts where a backend names none, and for files": _words(
        """addtype addcharset removetype removecharset removelanguage removeencoding removehandler
        removeoutputfilter removeinputfilter modmimeusepathinfo multiviewsmatch typesconfig"""
    ),
    "a handler by the end of a name: not for what is passed on": _words("addhandler"),
    "expanded where it is used": _words("macro undefmacro"),
}
"""Reason to names: harmless outside of sections."""

FILES = _words("directory directorymatch files filesmatch virtualhost")
"""Sections that are not asked for what is passed on, and hosts of his own."""

REPLACED = _words(
    """usecanonicalname httpprotocoloptions allowencodedslashes mergeslashes traceenable
    serversignature hostnamelookups limitrequestline limitrequestfieldsize limitrequestfields
    limitrequestbody requestreadtimeout timeout keepalive maxkeepaliverequests keepalivetimeout
    protocols h2maxsessionstreams h2streamtimeout h2windowsize h2upgrade h2direct rewriteoptions
    sslengine proxyrequests remoteipproxyprotocol"""
)
"""Harmless where all of our hosts say it anew: the host's word takes the place of the server's."""

REPLACED_BY_ONE: Mapping[str, frozenset[str]] = {
    "proxypass": _words("proxypreservehost proxyaddheaders proxyerroroverride proxyvia proxytimeout"),
    "sslprotocol": _words(
        """sslprotocol sslciphersuite sslhonorcipherorder sslcompression sslinsecurerenegotiation
        sslstrictsnivhostcheck sslsessiontickets sslverifyclient sslusestapling sslcarevocationcheck
        sslocspenable"""
    ),
}
"""The same, but asked of those of our hosts that have the directive before the colon."""

SPECIAL = _words(
    """downgrade-1.0 force-gzip force-no-vary force-response-1.0 gzip-only-text/html no-gzip no-brotli
    no-cache no-etag no-proxy nokeepalive prefer-language redirect-carefully suppress-error-charset
    force-proxy-request-1.0 rate-limit rate-initial-burst ssl-unclean-shutdown ssl-accurate-shutdown
    ssl-secure-reneg unique_id"""
)
"""Variables that tell a module of httpd's what to do; also whatever begins like those in ``inherited.py``."""

MODULES = _words(
    """access_compat actions alias allowmethods asis auth_basic auth_digest auth_form authn_anon
    authn_core authn_dbd authn_dbm authn_file authn_socache authnz_fcgi authnz_ldap authz_core
    authz_dbd authz_dbm authz_groupfile authz_host authz_owner authz_user autoindex brotli buffer
    cache cache_disk cache_socache cern_meta cgi cgid charset_lite data dav dav_fs dav_lock dbd
    deflate dialup dir dumpio echo env expires ext_filter file_cache filter headers heartbeat
    heartmonitor http2 ident imagemap include info lbmethod_bybusyness lbmethod_byrequests
    lbmethod_bytraffic lbmethod_heartbeat ldap log_config log_debug log_forensic logio lua macro md
    mime mime_magic mpm_event mpm_prefork mpm_worker negotiation proxy proxy_ajp proxy_balancer
    proxy_connect proxy_express proxy_fcgi proxy_fdpass proxy_ftp proxy_hcheck proxy_html proxy_http
    proxy_http2 proxy_scgi proxy_uwsgi proxy_wstunnel ratelimit reflector remoteip reqtimeout
    request rewrite sed session session_cookie session_crypto session_dbd setenvif slotmem_plain
    slotmem_shm socache_dbm socache_dc socache_memcache socache_redis socache_shmcb speling ssl
    status substitute suexec systemd unique_id unixd userdir usertrack version vhost_alias watchdog
    xml2enc php php5 php7 wsgi"""
)
"""Modules that do nothing to a request without a directive; other ones may, as mod_evasive does."""
